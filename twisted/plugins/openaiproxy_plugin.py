"""Names the daemon to ``twistd``; imports nothing of ours, so that ``twistd --help`` stays cheap."""

from twisted.application.service import ServiceMaker

openaiproxy = ServiceMaker(
    "OpenAI proxy",
    "openai_proxy.tap",
    "A transparent, observable proxy for OpenAI and providers like it.",
    "openaiproxy",
)
