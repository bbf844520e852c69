"""What other machines may ask a trail for, over HTTP (extra `server`)."""
