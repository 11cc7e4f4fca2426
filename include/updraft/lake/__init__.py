"""Where everything of a project stands in the lake. It knows addresses alone; who reads checks what was read."""
