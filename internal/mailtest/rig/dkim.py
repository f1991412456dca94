# Signs or verifies messages with python3-dkim: a request in JSON on standard input, the answers on
# standard output. Octets are written as the characters of the same number.
import json
import sys

import dkim

request = json.load(sys.stdin)
messages = [m.encode("latin-1") for m in request["messages"]]
answers = []
if "signer" in request:
    s = request["signer"]
    for m in messages:
        field = dkim.sign(
            m,
            s["Selector"].encode(),
            s["Domain"].encode(),
            s["Key"].encode(),
            canonicalize=tuple(c.encode() for c in s["Canonicalization"].split("/")),
            signature_algorithm=s["Algorithm"].encode(),
        )
        answers.append(field.decode("latin-1"))
else:
    records = {k.encode() + b".": v.encode() for k, v in request["records"].items()}
    for m in messages:
        try:
            good = dkim.DKIM(m).verify(dnsfunc=lambda name, timeout=5: records.get(name))
            answers.append("pass" if good else "fail")
        except dkim.DKIMException as e:
            answers.append("error %s" % e)
json.dump(answers, sys.stdout)
