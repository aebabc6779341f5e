"""The families of the contact centre, one folder for each. Only a family knows its domain; the hub does not."""
