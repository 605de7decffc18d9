"""The module that the fork server of `processes` imports first."""

import processes

processes.preload()
