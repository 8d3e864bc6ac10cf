"""One file a rendition; `media_worker.rendition` says what one is."""
