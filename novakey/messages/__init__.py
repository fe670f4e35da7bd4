"""The decision whether a message may act, and where its secret goes.

handler    the way of a message, top to bottom
replay     fresh and once
ledger     what was accepted, over restarts
inject     the gates of a secret, one delivery at a time
exchange   how long a message may still act
recent     what was delivered or refused a moment ago
permissions  arming, approval and denial of each device, as one table
targets    what a secret or an approval is for
approvals  who approves, and the owner's answer
prompt     a question on the owner's screen
requests   programs that wait for a secret
secret_request  one of them
pages      the field of a web page, and what became of it
rules      the checks, each with its reason
delivery   one secret on its way, and what is still allowed
output     the way to the screen
clearing   the end of a text on the clipboard
policy/    what may be typed, and where
history    what became of the last messages
request_ids  the numbers of connections, which count nothing
"""
