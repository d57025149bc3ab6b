"""The web proxy: actors and trials over HTTP and JSON, for browsers and scripts."""

from cogment_lab.services.web_proxy.proxy import WebProxy
from cogment_lab.services.web_proxy.settings import WebProxySettings

__all__ = ["WebProxy", "WebProxySettings"]
