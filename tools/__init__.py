"""What is done at deploy time, on a developer's machine; never imported by a running application, never uploaded.

The wheel carries this package as `gaeport_tools`, so its modules import each other by relative names.
"""
