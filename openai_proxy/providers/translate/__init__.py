"""OpenAI's chat completions and Anthropic's Messages, each made of the other; pure functions.

What a folder is named after is what comes out: ``to_chat`` makes chat completions (requests of
Messages clients for OpenAI's dialect, answers of Messages upstreams for OpenAI's clients),
``to_messages`` the other way round. What is said here of OpenAI is of
https://platform.openai.com/docs/api-reference/chat, of Anthropic of
https://platform.claude.com/docs/en/api/messages.
"""
