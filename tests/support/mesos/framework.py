"""A framework over the v1 scheduler API that is told what to do, one JSON object a line.

Reads:  {"launch": {"task": TASKINFO, "ports": [31000], "agent": "127.1.2.11", "kind": "command"}}
            TASKINFO without agent_id and resources; "agent" may be null; "kind" is
            "command" (an executor of its own), "pod" (a task group) or "shared" (many tasks in
            one executor that starts no process for them: cheap)
        {"kill": "TASK ID"}
Writes: {"subscribed": "FRAMEWORK ID", "master": "127.1.2.1:5050"}
        {"update": TASKSTATUS, "at": SECONDS}

It follows the leader and stays the same framework. Ends when its input ends.
"""
import argparse, base64, getpass, http.client, json, os, ssl, sys, threading, time

arguments = argparse.ArgumentParser()
arguments.add_argument('--masters', required=True, help='HOST:PORT,HOST:PORT')
arguments.add_argument('--info', default='{}', help='FrameworkInfo, as JSON')
arguments.add_argument('--executor', required=True, help='program of "shared" tasks')
arguments.add_argument('--user', help='NAME:SECRET for HTTP authentication')
arguments.add_argument('--tls', action='store_true')
arguments.add_argument('--certificate', help='PEM file with certificate and key, for TLS')
options = arguments.parse_args()

TAKEN = 3600            # seconds for which declined resources are not offered again
HEADERS = {'Content-Type': 'application/json', 'Accept': 'application/json'}
if options.user:
    HEADERS['Authorization'] = 'Basic ' + base64.b64encode(options.user.encode()).decode()
lock = threading.RLock()
waiting = []            # launches that no offer was there for
agents = {}             # task id -> agent_id
now = {'master': None, 'stream': None, 'id': None}


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


def connect(master, timeout=None):
    if not options.tls:
        return http.client.HTTPConnection(master, timeout=timeout)
    context = ssl._create_unverified_context()
    if options.certificate:
        context.load_cert_chain(options.certificate)
    return http.client.HTTPSConnection(master, timeout=timeout, context=context)


def call(kind, **body):
    """Posts a call to the master; gives whether it was accepted."""
    body.update(type=kind, framework_id=now['id'])
    try:
        c = connect(now['master'], 10)
        c.request('POST', '/api/v1/scheduler', json.dumps(body), {**HEADERS, 'Mesos-Stream-Id': now['stream']})
        r = c.getresponse()
        text = r.read()
        c.close()
    except (OSError, http.client.HTTPException) as e:
        print(kind, e, file=sys.stderr, flush=True)
        return False
    if r.status != 202:
        print(kind, r.status, text, file=sys.stderr, flush=True)
    return r.status == 202


def subscribe():
    """Tries the masters until one takes the subscription; gives its stream of events."""
    info = {'user': getpass.getuser(), 'name': 'demo', 'roles': ['*'], 'failover_timeout': 3600, 'hostname': '127.0.0.1',
            'capabilities': [{'type': 'MULTI_ROLE'}, {'type': 'TASK_KILLING_STATE'}, {'type': 'PARTITION_AWARE'}],
            **({'principal': options.user.split(':')[0]} if options.user else {}), **json.loads(options.info)}
    while True:
        for master in options.masters.split(','):
            body = {'type': 'SUBSCRIBE', 'subscribe': {'framework_info': info}}
            if now['id']:
                body['framework_id'] = info['id'] = now['id']
            try:
                c = connect(master, 60)      # heartbeats come every 15 seconds
                c.request('POST', '/api/v1/scheduler', json.dumps(body), HEADERS)
                r = c.getresponse()
            except (OSError, http.client.HTTPException):
                continue
            if r.status == 200:
                now.update(master=master, stream=r.getheader('Mesos-Stream-Id'))
                return r
            text = r.read()
            if r.status not in (307, 503):
                print('SUBSCRIBE', master, r.status, text, file=sys.stderr, flush=True)
        time.sleep(0.05)


def events(stream):
    """The events of a RecordIO stream until it ends."""
    try:
        while True:
            length = stream.readline()
            if not length:
                return
            data = b''
            while len(data) < int(length):
                more = stream.read(int(length) - len(data))
                if not more:
                    return
                data += more
            yield json.loads(data)
    except (OSError, http.client.HTTPException, ValueError) as e:
        print('stream', e, file=sys.stderr, flush=True)


def ranges(offer):
    return [(x['begin'], x['end']) for r in offer['resources'] if r['name'] == 'ports' for x in r['ranges']['range']]


def fits(launch, offer):
    return launch['agent'] in (None, offer['hostname']) and all(
        any(a <= p <= b for a, b in ranges(offer)) for p in launch['ports'])


def resource(name, value):
    return {'name': name, 'type': 'SCALAR', 'scalar': {'value': value}, 'allocation_info': {'role': '*'}}


def operation(launch, agent):
    """The operation of an ACCEPT that launches it."""
    task, ports = dict(launch['task'], agent_id=agent), launch['ports']
    task['resources'] = [resource('cpus', .001), resource('mem', 32)]
    if ports:
        task['resources'].append({'name': 'ports', 'type': 'RANGES', 'allocation_info': {'role': '*'}, 'ranges': {
            'range': [{'begin': p, 'end': p} for p in ports]}})
    share = [resource('cpus', .01), resource('mem', 32), resource('disk', 32)]
    if launch['kind'] == 'pod':
        executor = {'type': 'DEFAULT', 'executor_id': {'value': 'pod-' + task['task_id']['value']},
                    'framework_id': now['id'], 'resources': share}
        return {'type': 'LAUNCH_GROUP', 'launch_group': {'executor': executor, 'task_group': {'tasks': [task]}}}
    if launch['kind'] == 'shared':
        task.pop('command', None)
        task['resources'][1] = resource('mem', 1)
        task['executor'] = {'type': 'CUSTOM', 'executor_id': {'value': 'shared'}, 'framework_id': now['id'],
                            'command': {'value': options.executor}, 'resources': share}
    return {'type': 'LAUNCH', 'launch': {'task_infos': [task]}}


def take(offer):
    """Launches what waits and fits, and declines the rest."""
    with lock:
        chosen = [w for w in waiting if fits(w, offer)]
        waiting[:] = [w for w in waiting if w not in chosen]
    for w in chosen:
        agents[w['task']['task_id']['value']] = offer['agent_id']
    body = {'offer_ids': [offer['id']], 'filters': {'refuse_seconds': TAKEN}}
    if not chosen:
        call('DECLINE', decline=body)
    elif not call('ACCEPT', accept={**body, 'operations': [operation(w, offer['agent_id']) for w in chosen]}):
        with lock:
            waiting.extend(chosen)
    if waiting:
        call('REVIVE')


def handle(event):
    kind = event['type']
    if kind == 'SUBSCRIBED':
        now['id'] = event['subscribed']['framework_id']
        say(subscribed=now['id']['value'], master=now['master'])
        if waiting:
            call('REVIVE')
    elif kind == 'OFFERS':
        for offer in event['offers']['offers']:
            take(offer)
    elif kind == 'UPDATE':
        status = event['update']['status']
        say(update=status, at=time.time())
        if 'uuid' in status:
            call('ACKNOWLEDGE', acknowledge={k: status[k] for k in ('agent_id', 'task_id', 'uuid')})
    elif kind in ('ERROR', 'FAILURE'):
        print(json.dumps(event), file=sys.stderr, flush=True)


def obey():
    for line in sys.stdin:
        command = json.loads(line)
        if 'launch' in command:
            with lock:
                waiting.append(command['launch'])
            if now['id']:
                call('REVIVE')
        elif 'kill' in command:
            task = {'value': command['kill']}
            call('KILL', kill={'task_id': task, 'agent_id': agents[command['kill']]})
    os._exit(0)


threading.Thread(target=obey, daemon=True).start()
while True:
    for e in events(subscribe()):
        handle(e)
