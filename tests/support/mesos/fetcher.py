"""mesos-fetcher, small: file, http and copied URIs; extracts tar and zip."""
import json, os, shutil, sys, tarfile, urllib.parse, urllib.request, zipfile
info = json.loads(os.environ['MESOS_FETCHER_INFO'])
for item in info.get('items', []):
    u = item['uri']
    v = u['value']
    name = u.get('output_file') or os.path.basename(urllib.parse.urlparse(v).path)
    dest = os.path.join(info['sandbox_directory'], name)
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    if v.startswith(('http://', 'https://', 'ftp://')):
        with urllib.request.urlopen(v) as r, open(dest, 'wb') as f:
            shutil.copyfileobj(r, f)
    else:
        p = urllib.parse.urlparse(v).path if v.startswith('file://') else v
        shutil.copyfile(p, dest)
    if u.get('executable'):
        os.chmod(dest, 0o755)
    elif u.get('extract', True):
        if tarfile.is_tarfile(dest):
            tarfile.open(dest).extractall(info['sandbox_directory'])
        elif zipfile.is_zipfile(dest):
            zipfile.ZipFile(dest).extractall(info['sandbox_directory'])
    print('Fetched', v, 'to', dest)
