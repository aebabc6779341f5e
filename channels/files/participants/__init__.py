"""Amazon Connect's Participant service: consumers and agents who talk in chats (docs/protocol/participants.md)."""
