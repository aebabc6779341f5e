"""Files around conversations: attached files, files of chats, and what happens to them."""
