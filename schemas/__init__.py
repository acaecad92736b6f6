"""What travels: the envelope, the events, the topics and their codec. No I/O."""
