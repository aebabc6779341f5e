#!/bin/sh
# install.sh ENVIRONMENT ARGUMENTS...: as `pip install ARGUMENTS...` in a virtual environment, made with the pip of .venv.
#
# uv does it, which fetches and unpacks several packages at once: seconds where pip takes minutes. Where uv cannot be had, or cannot
# reach what pip reaches (an index that pip's configuration alone describes, say), pip does it.
set -eu
environment=$1
shift
python=.venv/bin/python
uv=.venv/bin/uv
pip() { "$python" -m pip --disable-pip-version-check "$@"; }

[ -x "$uv" ] || pip install --quiet --constraint constraints.txt uv || echo "uv cannot be installed"
if [ -x "$uv" ]; then
    index=${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-$(pip config get global.index-url 2> /dev/null || true)}}
    if [ -n "$index" ]; then
        export UV_DEFAULT_INDEX="$index"
    fi
    if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
        export SSL_CERT_FILE="$PIP_CERT"
    fi
    "$uv" pip install --python "$environment/bin/python" --compile-bytecode "$@" && exit
fi
echo "pip takes its place: a minute or two"
exec "$python" -m pip --disable-pip-version-check --python "$environment/bin/python" install --progress-bar on "$@"
