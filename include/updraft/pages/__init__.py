"""What people look at in a browser: files of the lake, and pages that are made of the store when they are asked for. Who may, the plugin decides."""
