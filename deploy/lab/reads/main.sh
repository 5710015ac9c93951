#!/bin/sh
# The lab's service in shell: reads its settings and its job anew every second, as a server that reloads does.
/bin/svid-follow &
said=
while :; do
	read -r settings </etc/service.conf
	. /srv/job.sh
	if [ "$message" != "$said" ]; then
		said=$message
		echo "{\"timeUnixMs\":$(date +%s%3N),\"event\":\"job\",\"message\":\"$message\"}"
	fi
	sleep 1
done
