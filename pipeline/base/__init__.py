"""What everything stands on: params, errors, files, random streams, resumable work."""
