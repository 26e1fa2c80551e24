"""The gateway's HTTP side: answers, streams, tokens, limits and the page. All of it runs on one event loop."""
