"""Makes the passwords in a copy of irctest longer, because chatd requires at least 8 characters. Run it in the
copy."""

import base64
import pathlib
import re

for path in pathlib.Path("irctest").rglob("*.py"):
    old = path.read_text()
    new = old.replace("sesame", "sesame-sesame")
    new = re.sub(r'(registerUser\(self, "foo", )"bar"\)', r'\1"bar-bar-bar")', new)
    new = new.replace('b"foo", b"foo", b"bar"]', 'b"foo", b"foo", b"bar-bar-bar"]')
    new = new.replace('account="foo",\n            password="bar",', 'account="foo",\n            password="bar-bar-bar",')
    for word in set(re.findall(r'AUTHENTICATE ([A-Za-z0-9+/]{12,}={0,2})"', new)):
        try:
            decoded = base64.b64decode(word)
        except ValueError:
            continue
        if b"sesame" in decoded and b"sesame-sesame" not in decoded:
            longer = base64.b64encode(decoded.replace(b"sesame", b"sesame-sesame")).decode()
            new = new.replace(word, longer)
    if new != old:
        path.write_text(new)
