"""Tools for development and tests; a service in production imports none of them."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this file is what an older Python gets to read
    sys.exit("Python 3.11 or newer is needed, this is Python " + sys.version.split()[0])
