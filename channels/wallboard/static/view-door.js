// @ts-check
/** What stands in place of the board when nobody is signed in, or somebody who may not see it. */

import { ApiError } from "./api.js";
import { byId, setText } from "./dom.js";

export class DoorView {
  #form = /** @type {HTMLFormElement} */ (byId("sign-in"));
  #token = /** @type {HTMLInputElement} */ (byId("token"));
  #error = byId("door-error");
  #signIn;

  /**
   * @param {(token: string) => Promise<void>} signIn   resolves when the hub took the token
   * @param {() => void} signOut
   */
  constructor(signIn, signOut) {
    this.#signIn = signIn;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    byId("refused-out").addEventListener("click", signOut);
    // when it is followed: the address has the group and the view that were chosen meanwhile
    const byPassword = /** @type {HTMLAnchorElement} */ (byId("by-password"));
    byPassword.addEventListener("click", () => {
      byPassword.search = new URLSearchParams({ next: location.pathname + location.search }).toString();
    });
  }

  /**
   * Shows one of: the board, the sign-in form, the refusal.
   * @param {"board" | "sign-in" | "refused"} view
   * @param {string} [words]
   */
  show(view, words = "") {
    const before = document.body.dataset.view;
    document.body.dataset.view = view;
    byId("board").hidden = view !== "board";
    byId("door").hidden = view !== "sign-in";
    byId("refused").hidden = view !== "refused";
    if (view === "refused") setText(byId("refused-text"), words);
    if (view === "sign-in" && before !== "sign-in") {
      setText(this.#error, words);
      this.#token.focus();
    }
  }

  async #submit() {
    const token = this.#token.value.trim();
    if (!token) {
      this.#fail("Enter an access token.");
      return;
    }
    this.#form.setAttribute("aria-busy", "true");
    setText(this.#error, "");
    try {
      await this.#signIn(token);
      this.#token.value = "";
      this.#token.removeAttribute("aria-invalid");
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      const known = status === 401 ? "The hub does not know this token, or it has expired." : status === 429 ? "Too many attempts. Try again in a minute." : "";
      this.#fail(known || (status ? `The hub answered: ${/** @type {Error} */ (error).message}` : "The hub cannot be reached."));
    } finally {
      this.#form.removeAttribute("aria-busy");
    }
  }

  /** @param {string} words */
  #fail(words) {
    setText(this.#error, words);
    this.#token.setAttribute("aria-invalid", "true");
    this.#token.focus();
    this.#token.select();
  }
}
