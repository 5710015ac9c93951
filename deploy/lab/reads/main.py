# The lab's service in Python: reads its settings and its job anew every second, as a server that reloads does.
import os
import time

os.posix_spawn("/bin/svid-follow", ["svid-follow"], {})
said = None
while True:
    with open("/etc/service.conf", encoding="utf-8") as file:
        settings = file.read().strip()
    with open("/srv/job.py", encoding="utf-8") as file:
        names = {}
        exec(compile(file.read(), "/srv/job.py", "exec"), names)
    text = names["job"](settings)
    if text != said:
        said = text
        print('{"timeUnixMs":%d,"event":"job","message":"%s"}' % (time.time() * 1000, text), flush=True)
    time.sleep(1)
