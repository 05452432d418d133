"""patch.py IN.so OUT.so DIR: make the file of the wheel loadable today.

* The symbol version CURL_OPENSSL_3 becomes CURL_OPENSSL_4 (same functions).
* Writes DIR/crypto.c, crypto.map, ssl.c and ssl.map: stand-ins for Debian's
  OpenSSL 1.0 libraries. Each function jumps to the same function of an OpenSSL
  1.0.2 found in openssl10/ beside the library, or returns 0 where there is none.
  The Python 2.7 symbols that the file refers to (never used here) are in ssl.c.
"""
import os, struct, sys

def elfhash(s):
    h = 0
    for c in s:
        h = (h << 4) + c
        g = h & 0xf0000000
        if g:
            h ^= g >> 24
        h &= ~g & 0xffffffff
    return h

src, dst, out = sys.argv[1:4]
d = bytearray(open(src, 'rb').read())
shoff, = struct.unpack_from('<Q', d, 0x28)
size, num, names = struct.unpack_from('<HHH', d, 0x3a)

def cstr(off):
    return bytes(d[off:d.index(0, off)])

secs = [struct.unpack_from('<IIQQQQIIQQ', d, shoff + i * size) for i in range(num)]
by = {cstr(secs[names][4] + s[0]).decode(): s for s in secs}
dynstr = by['.dynstr'][4]
versions, off = {}, by['.gnu.version_r'][4]
while True:
    _, cnt, _, aux, nxt = struct.unpack_from('<HHIII', d, off)
    a = off + aux
    for _ in range(cnt):
        _, _, other, name, anext = struct.unpack_from('<IHHII', d, a)
        if cstr(dynstr + name) == b'CURL_OPENSSL_3':
            new = b'CURL_OPENSSL_4'
            d[dynstr + name:dynstr + name + len(new)] = new
            struct.pack_into('<I', d, a, elfhash(new))
        versions[other] = cstr(dynstr + name).decode()
        a += anext
    if not nxt:
        break
    off += nxt

ossl, py = {}, []
for i in range(by['.dynsym'][5] // 24):
    name, info, other, shndx, val, sz = struct.unpack_from('<IBBHQQ', d, by['.dynsym'][4] + i * 24)
    if shndx or not name:
        continue
    nm = cstr(dynstr + name).decode()
    v = versions.get(struct.unpack_from('<H', d, by['.gnu.version'][4] + 2 * i)[0] & 0x7fff, '')
    if v.startswith('OPENSSL_'):
        ossl.setdefault(v, []).append(nm)
    elif nm.startswith(('Py', '_Py')):
        py.append(nm)
open(dst, 'wb').write(d)
os.chmod(dst, 0o755)

flat = sorted(n for v in ossl.values() for n in v)
with open(out + '/crypto.c', 'w') as f:
    f.write("""#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
static long zero(void) { return 0; }
__attribute__((visibility("hidden"))) void *ossl_slots[%d];
static const char *const names[] = {%s};
__attribute__((constructor)) static void fill(void) {
  Dl_info me; char p[4096]; void *h[2] = {0, 0}; int i;
  if (dladdr((void *)fill, &me) && strrchr(me.dli_fname, '/')) {
    int n = strrchr(me.dli_fname, '/') - me.dli_fname;
    const char *l[2] = {"libssl.so", "libcrypto.so"};
    for (i = 0; i < 2; i++) {
      snprintf(p, sizeof p, "%%.*s/openssl10/%%s", n, me.dli_fname, l[i]);
      h[i] = dlopen(p, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    }
  }
  for (i = 0; i < %d; i++) {
    void *a = h[0] ? dlsym(h[0], names[i]) : 0;
    if (!a && h[1]) a = dlsym(h[1], names[i]);
    ossl_slots[i] = a ? a : (void *)zero;
  }
}
""" % (len(flat), ', '.join('"%s"' % n for n in flat), len(flat)))
    for i, n in enumerate(flat):
        f.write('__asm__(".text\\n.globl %s\\n.type %s,@function\\n%s: jmp *ossl_slots+%d(%%rip)\\n");\n'
                % (n, n, n, 8 * i))
with open(out + '/crypto.map', 'w') as f:
    for v in sorted(ossl):
        f.write('%s { global: %s; };\n' % (v, '; '.join(ossl[v])))
with open(out + '/ssl.c', 'w') as c, open(out + '/ssl.map', 'w') as m:
    for v in sorted(ossl):
        t = 'ssl_' + v.replace('.', '_')
        m.write('%s { global: %s; };\n' % (v, t))
        c.write('int %s;\n' % t)
    for n in py:
        c.write('long %s%s\n' % (n, '[64];' if n.startswith(('PyExc_', '_Py_')) else '() { return 0; }'))
