"""What a delta costs: our stream beside a ceiling and a naive peer, in one run."""
