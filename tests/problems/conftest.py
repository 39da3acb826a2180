"""The folders here are users' repositories: their tests are theirs, not ours."""

collect_ignore_glob = ["*/**"]
