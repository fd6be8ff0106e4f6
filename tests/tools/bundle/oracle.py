"""gcloud's own answer, for many folders in one process. Run by an interpreter that has the SDK's modules on its path.

python oracle.py SDK_ROOT FOLDER …      prints {folder: [paths that would be uploaded]} as JSON
"""

import json
import sys

if __name__ == "__main__":
    sdk, *folders = sys.argv[1:]
    sys.path[:0] = [f"{sdk}/lib", f"{sdk}/lib/third_party"]
    from googlecloudsdk.command_lib.util import gcloudignore

    answers = {}
    for folder in folders:
        chooser = gcloudignore.FileChooser.FromFile(f"{folder}/.gcloudignore")
        answers[folder] = sorted(chooser.GetIncludedFiles(folder, include_dirs=False))
    sys.stdout.write(json.dumps(answers))
