"""Work on files: from mixtures' files to stems' files, their layout, formats, manifests, and many at a time."""
