"""mesos-executor and mesos-default-executor, small: the v1 executor HTTP API.

Command tasks run as a child process (own session). Task groups (pods) run as
nested containers through the agent's operator API, as the real default
executor does it. COMMAND, HTTP and TCP health checks set `healthy`. Tasks that
name this program as their own executor share it, and no process is started for them.

What a container runtime would report is told by the story: the environment variable STATUS of a
task's command (or its `data`) is a JSON object whose members are added to each of its statuses.
"""
import base64, http.client, json, os, signal, socket, ssl, subprocess, sys, threading, time, uuid

pid_id, agent = os.environ['MESOS_SLAVE_PID'].split('@')
FRAMEWORK = {'value': os.environ['MESOS_FRAMEWORK_ID']}
EXECUTOR = {'value': os.environ['MESOS_EXECUTOR_ID']}
TOKEN = os.environ.get('MESOS_EXECUTOR_AUTHENTICATION_TOKEN')
GRACE = 3.0
DEFAULT = os.path.basename(sys.argv[0]) == 'mesos-default-executor'
lock = threading.RLock()
tasks, unacked = {}, {}          # task id -> Task; uuid -> update
state = {'done': False, 'container': None, 'caps': set(), 'quiet': False}


def log(*a):
    print(time.strftime('%H:%M:%S'), *a, file=sys.stderr, flush=True)


def speaks_tls():
    try:
        c = http.client.HTTPConnection(agent, timeout=5)
        c.request('GET', '/version')
        c.getresponse().read()
        return False
    except (OSError, http.client.HTTPException):
        return True


TLS = speaks_tls()


def call(path, body, timeout=None):
    h = {'Content-Type': 'application/json', 'Accept': 'application/json'}
    if TOKEN:
        h['Authorization'] = 'Bearer ' + TOKEN
    c = (http.client.HTTPSConnection(agent, timeout=timeout, context=ssl._create_unverified_context()) if TLS
         else http.client.HTTPConnection(agent, timeout=timeout))
    c.request('POST', '/%s%s' % (pid_id, path), json.dumps(body), h)
    return c, c.getresponse()


def send(body):
    body.update(executor_id=EXECUTOR, framework_id=FRAMEWORK)
    for i in range(5):
        if state['quiet']:
            return
        try:
            c, r = call('/api/v1/executor', body, 10)
            text = r.read(); c.close()
            if r.status == 202:
                return
            log('call refused', r.status, text)
        except OSError as e:
            log('call failed', e)
        time.sleep(1)


class Task:
    def __init__(self, info):
        self.info, self.proc, self.cid, self.killed, self.healthy, self.over = info, None, None, False, None, False
        self.shared, self.ended = 'executor' in info, threading.Event()

    def update(self, st, message=None, reason=None):
        with lock:
            u = base64.b64encode(uuid.uuid4().bytes).decode()
            s = {'task_id': self.info['task_id'], 'source': 'SOURCE_EXECUTOR', 'state': st, 'uuid': u,
                 'executor_id': EXECUTOR, 'timestamp': time.time()}
            if message:
                s['message'] = message
            if reason:
                s['reason'] = reason
            if self.healthy is not None:
                s['healthy'] = self.healthy
            if self.cid:
                s['container_status'] = {'container_id': self.cid}
            status = self.extra()
            s.setdefault('container_status', {}).update(status.pop('container_status', {}))
            s.update(status)
            unacked[u] = {'status': s}
        send({'type': 'UPDATE', 'update': {'status': s}})

    def extra(self):
        """What the story wants in each status."""
        if self.shared:
            return json.loads(base64.b64decode(self.info.get('data', '')) or b'{}')
        variables = self.info.get('command', {}).get('environment', {}).get('variables', [])
        return next((json.loads(v['value']) for v in variables if v['name'] == 'STATUS'), {})

    def start(self):
        self.update('TASK_STARTING')
        if DEFAULT:
            self.cid = {'value': str(uuid.uuid4()), 'parent': state['container']}
            c, r = call('/api/v1', {'type': 'LAUNCH_CONTAINER', 'launch_container': {
                'container_id': self.cid, 'command': dict(self.info['command'], environment=self.env()),
                **({'container': self.info['container']} if 'container' in self.info else {})}}, 60)
            text = r.read(); c.close()
            if r.status != 200:
                self.over = True
                return self.update('TASK_FAILED', 'launch: %s %s' % (r.status, text.decode()[:500]))
        elif not self.shared:
            cmd = self.info['command']
            env = dict(os.environ)
            env.update((v['name'], v.get('value', '')) for v in cmd.get('environment', {}).get('variables', []))
            if cmd.get('shell', True):
                argv = ['/bin/sh', '-c', cmd['value']]
            else:
                argv = cmd.get('arguments') or [cmd['value']]
            try:
                self.proc = subprocess.Popen(argv, executable=None if cmd.get('shell', True) else cmd['value'],
                                             env=env, stdin=subprocess.DEVNULL, start_new_session=True)
            except OSError as e:
                self.over = True
                return self.update('TASK_FAILED', str(e))
        self.update('TASK_RUNNING')
        threading.Thread(target=self.reap, daemon=True).start()
        if 'health_check' in self.info:
            threading.Thread(target=self.health, daemon=True).start()

    def env(self):
        v = list(self.info['command'].get('environment', {}).get('variables', []))
        return {'variables': v + [{'name': 'MESOS_TASK_ID', 'value': self.info['task_id']['value']}]}

    def reap(self):
        if self.shared:
            self.ended.wait()
            rc = 0
        elif self.proc:
            rc = self.proc.wait()
            rc = rc if rc >= 0 else 128 - rc
        else:
            rc = None
            while rc is None:
                try:
                    c, r = call('/api/v1', {'type': 'WAIT_CONTAINER', 'wait_container': {'container_id': self.cid}})
                    text = r.read(); c.close()
                    if r.status == 200:
                        st = json.loads(text).get('wait_container', {}).get('exit_status', 0)
                        rc = os.waitstatus_to_exitcode(st)
                    else:
                        log('wait', r.status, text); rc = 1
                except OSError:
                    time.sleep(1)
        self.over = True
        if self.killed:
            self.update('TASK_KILLED', 'Command terminated')
        elif rc == 0:
            self.update('TASK_FINISHED', 'Command exited with status 0')
        else:
            self.update('TASK_FAILED', 'Command exited with status %s' % rc, 'REASON_COMMAND_EXECUTOR_FAILED')
        finish()

    def kill(self, grace=None):
        if self.over or self.killed:
            return
        self.killed = True
        if 'TASK_KILLING_STATE' in state['caps']:
            self.update('TASK_KILLING')
        for sig, wait in ((signal.SIGTERM, GRACE if grace is None else grace), (signal.SIGKILL, 0)):
            if self.proc:
                try:
                    os.killpg(self.proc.pid, sig)
                except ProcessLookupError:
                    pass
            elif self.shared:
                self.ended.set()
            elif self.cid:
                try:
                    c, r = call('/api/v1', {'type': 'KILL_CONTAINER', 'kill_container': {
                        'container_id': self.cid, 'signal': int(sig)}}, 10)
                    r.read(); c.close()
                except OSError as e:
                    log('kill', e)
            end = time.time() + wait
            while time.time() < end and not self.over:
                time.sleep(0.02)

    def health(self):
        h = self.info['health_check']
        time.sleep(h.get('delay_seconds', 15))
        t0, bad = time.time(), 0
        while not self.over:
            ok = False
            tmo = h.get('timeout_seconds', 20)
            try:
                if 'http' in h:
                    c = http.client.HTTPConnection('127.0.0.1', h['http']['port'], timeout=tmo)
                    c.request('GET', h['http'].get('path', '/'))
                    ok = 200 <= c.getresponse().status < 400; c.close()
                elif 'tcp' in h:
                    socket.create_connection(('127.0.0.1', h['tcp']['port']), tmo).close(); ok = True
                elif 'command' in h:
                    ok = subprocess.run(h['command']['value'], shell=True, timeout=tmo).returncode == 0
            except (OSError, subprocess.TimeoutExpired, http.client.HTTPException):
                pass
            if ok or time.time() - t0 > h.get('grace_period_seconds', 10) or self.healthy is not None:
                bad = 0 if ok else bad + 1
                if self.healthy is not ok and not self.over:
                    self.healthy = ok
                    self.update('TASK_RUNNING', reason='REASON_TASK_HEALTH_CHECK_STATUS_UPDATED')
                if bad and bad >= h.get('consecutive_failures', 3) > 0:
                    return self.kill()
            time.sleep(h.get('interval_seconds', 10))


def finish():
    """Leave when every task is over and acknowledged."""
    def later():
        end = time.time() + 10
        while unacked and time.time() < end:
            time.sleep(0.05)
        os._exit(0)
    with lock:
        if tasks and all(t.over and not t.shared for t in tasks.values()) and not state['done']:
            state['done'] = True
            threading.Thread(target=later).start()


def event(e):
    kind = e['type']
    if kind == 'SUBSCRIBED':
        s = e['subscribed']
        state['container'] = s.get('container_id')
        state['caps'] = {c['type'] for c in s['framework_info'].get('capabilities', [])}
    elif kind in ('LAUNCH', 'LAUNCH_GROUP'):
        infos = [e['launch']['task']] if kind == 'LAUNCH' else e['launch_group']['task_group']['tasks']
        new = [Task(i) for i in infos]
        with lock:
            tasks.update((t.info['task_id']['value'], t) for t in new)
        for t in new:
            t.start()
        finish()
    elif kind == 'KILL':
        t = tasks.get(e['kill']['task_id']['value'])
        g = e['kill'].get('kill_policy', {}).get('grace_period', {}).get('nanoseconds')
        if t:
            if DEFAULT:          # a pod lives and dies as one
                for x in list(tasks.values()):
                    threading.Thread(target=x.kill, args=(g and g / 1e9,)).start()
            else:
                threading.Thread(target=t.kill, args=(g and g / 1e9,)).start()
    elif kind == 'ACKNOWLEDGED':
        unacked.pop(e['acknowledged']['uuid'], None)
    elif kind == 'SHUTDOWN':
        ts = [threading.Thread(target=t.kill) for t in tasks.values()]
        [t.start() for t in ts]
        [t.join(GRACE + 1) for t in ts]
        time.sleep(0.5)
        os._exit(0)
    elif kind == 'ERROR':
        log('error', e); os._exit(1)


def main():
    gone = None
    while True:
        try:
            with lock:
                body = {'type': 'SUBSCRIBE', 'executor_id': EXECUTOR, 'framework_id': FRAMEWORK, 'subscribe': {
                    'unacknowledged_tasks': [t.info for t in tasks.values() if not t.over],
                    'unacknowledged_updates': list(unacked.values())}}
            c, r = call('/api/v1/executor', body)
            if r.status == 200:
                gone = None
                while True:
                    n = r.readline()
                    if not n:
                        break
                    data = b''
                    while len(data) < int(n):
                        more = r.read(int(n) - len(data))
                        if not more:
                            break
                        data += more
                    e = json.loads(data)
                    if e['type'] != 'HEARTBEAT':
                        log('event', e['type'])
                    event(e)
            else:
                log('subscribe', r.status, r.read())
        except (OSError, http.client.HTTPException, ValueError) as e:
            log('connection', e)
        gone = gone or time.time()
        if os.environ.get('MESOS_CHECKPOINT') != '1' or time.time() - gone > 900:
            state['quiet'] = True
            event({'type': 'SHUTDOWN'})
        time.sleep(1)


signal.signal(signal.SIGTERM, lambda *a: threading.Thread(target=event, args=({'type': 'SHUTDOWN'},)).start())
main()
