"""Stand-ins on loopback: a Slack workspace, broken mail servers, a DNS server and a mail system."""
