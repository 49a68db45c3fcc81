"""TAP lines of a test."""


class Tap:
    def __init__(self):
        self.number = 0

    def check(self, name, condition, more=""):
        """One line; `more` is shown where the condition does not hold."""
        self.number += 1
        print("%s %d - %s" % ("ok" if condition else "not ok", self.number, name), flush=True)
        if not condition:
            print("# %r" % (more,))

    def done(self):
        print("1..%d" % self.number)
