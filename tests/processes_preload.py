"""What `processes` has imported before it forks."""

import processes

processes.preload()
