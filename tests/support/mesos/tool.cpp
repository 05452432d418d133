// One program, three names: mesos-master, mesos-agent, mesos-containerizer.
// It follows the order of work of the real programs, but uses no file of the
// Mesos source tree: constructors are called by their linker names on zeroed,
// over-allocated memory. The numbers marked OFFSET belong to this one build
// (its checksum is tested by build.sh).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>
#include <unistd.h>
#include <strings.h>
#include <sys/stat.h>

template <typename T> struct Option {
  int state; union { T t; };
  Option() : state(1) {}
  Option(const T& v) : state(0) { new (&t) T(v); }
  Option(const Option& o) : state(o.state) { if (!state) new (&t) T(o.t); }
  ~Option() { if (state == 0) t.~T(); }
};
struct Error { std::string message; };
template <typename T, typename E = Error> struct Try { Option<T> data; Option<E> error; };
struct Duration { long ns; };
struct Blob { char b[4096]; Blob() { memset(b, 0, sizeof b); } ~Blob() {} };   // returned through memory
typedef Option<std::string> OS;

#define SYM(name) __asm__(name)
#define STR "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"

bool p_initialize(const OS&, const OS&, const OS&)
  SYM("_ZN7process10initializeERK6OptionI" STR "ES9_S9_");
std::string p_generate(const std::string&) SYM("_ZN7process2ID8generateERK" STR);
Blob p_spawn(void* processBase, bool managed) SYM("_ZN7process5spawnEPNS_11ProcessBaseEb");
bool p_wait(const void* upid, const Duration&) SYM("_ZN7process4waitERKNS_4UPIDERK8Duration");
void upid_ctor(void*, const void* processBase) SYM("_ZN7process4UPIDC1ERKNS_11ProcessBaseE");
void log_initialize(const std::string&, bool, const Blob& none)
  SYM("_ZN5mesos8internal7logging10initializeERK" STR "bRK6OptionINS1_5FlagsEE");
void version_ctor(void*) SYM("_ZN5mesos8internal14VersionProcessC1Ev");
struct Warnings { char b[24]; };
Try<Warnings> flags_load(void* flagsBase, const OS& prefix, int argc, const char* const* argv,
  bool unknowns, bool duplicates) SYM("_ZN5flags9FlagsBase4loadERK6OptionI" STR "EiPKPKcbb");

void master_flags_ctor(void*) SYM("_ZN5mesos8internal6master5FlagsC1Ev");
void allocator_ctor(void*) SYM("_ZN5mesos8internal6master9allocator14MesosAllocatorINS2_28HierarchicalAllocatorProcessINS2_9DRFSorterES5_EEEC1Ev");
void memory_ctor(void*) SYM("_ZN5mesos5state15InMemoryStorageC1Ev");
struct Upids { char set[48]; Upids() { memset(set, 0, sizeof set); *(void**)(set + 24) = *(void**)(set + 32) = set + 8; } };  // an empty std::set
void log_ctor(void*, int quorum, const std::string& path, const Upids&, bool init, const OS& metrics)
  SYM("_ZN5mesos3log3LogC1EiRK" STR "RKSt3setIN7process4UPIDESt4lessISC_ESaISC_EEbRK6OptionIS7_E");
void log_zk_ctor(void*, int quorum, const std::string& path, const std::string& servers, const Duration&,
  const std::string& znode, const Blob& noAuth, bool init, const OS& metrics)
  SYM("_ZN5mesos3log3LogC1EiRK" STR "S9_RK8DurationS9_RK6OptionIN9zookeeper14AuthenticationEEbRKSD_IS7_E");
void log_storage_ctor(void*, void* log, size_t) SYM("_ZN5mesos5state10LogStorageC1EPNS_3log3LogEm");
extern void* state_vtable[] SYM("_ZTVN5mesos5state8protobuf5StateE");
void registrar_ctor(void*, const void* flags, void* state, const OS& realm)
  SYM("_ZN5mesos8internal6master9RegistrarC1ERKNS1_5FlagsEPNS_5state5StateERK6OptionI" STR "E");
Try<void*> contender_create(const OS& zk, const OS& module, const Option<Duration>&)
  SYM("_ZN5mesos6master9contender15MasterContender6createERK6OptionI" STR "ESC_RKS3_I8DurationE");
Try<void*> authorizer_create(const void* acls) SYM("_ZN5mesos10Authorizer6createERKNS_4ACLsE");
Blob auth_callbacks(void* authorizer) SYM("_ZN5mesos13authorization28createAuthorizationCallbacksB5cxx11EPNS_10AuthorizerE");
void auth_set(const Blob&) SYM("_ZN7process4http13authorization12setCallbacksERK7hashmapI" STR "St8functionIFNS_6FutureIbEENS0_7RequestE6OptionINS0_14authentication9PrincipalEEEESt4hashIS8_ESt8equal_toIS8_EE");
void master_ctor(void*, void* allocator, void* registrar, void* files, void* contender, void* detector,
  const Option<void*>& authorizer, const Blob& noLimiter, const void* flags)
  SYM("_ZN5mesos8internal6master6MasterC1EPNS_9allocator9AllocatorEPNS1_9RegistrarEPNS0_5FilesEPNS_6master9contender15MasterContenderEPNSA_8detector14MasterDetectorERK6OptionIPNS_10AuthorizerEERKSH_ISt10shared_ptrIN7process11RateLimiterEEERKNS1_5FlagsE");
void masterinfo_copy(void*, const void*) SYM("_ZN5mesos10MasterInfoC1ERKS0_");
void appoint(void* detector, const void* optionMasterInfo)
  SYM("_ZN5mesos6master8detector24StandaloneMasterDetector7appointERK6OptionINS_10MasterInfoEE");

void slave_flags_ctor(void*) SYM("_ZN5mesos8internal5slave5FlagsC1Ev");
void fetcher_ctor(void*, const void* flags) SYM("_ZN5mesos8internal5slave7FetcherC1ERKNS1_5FlagsE");
void gc_ctor(void*, const std::string&) SYM("_ZN5mesos8internal5slave16GarbageCollectorC1ERK" STR);
void tsum_ctor(void*, const void* flags) SYM("_ZN5mesos8internal5slave23TaskStatusUpdateManagerC1ERKNS1_5FlagsE");
void files_ctor(void*, const OS&, const Option<void*>&)
  SYM("_ZN5mesos8internal5FilesC1ERK6OptionI" STR "ERKS2_IPNS_10AuthorizerEE");
void jwt_ctor(void*, const std::string&) SYM("_ZN5mesos14authentication8executor18JWTSecretGeneratorC1ERK" STR);
typedef Try<void*> TP;
TP secret_resolver(const OS&) SYM("_ZN5mesos14SecretResolver6createERK6OptionI" STR "E");
TP resource_estimator(const OS&) SYM("_ZN5mesos5slave17ResourceEstimator6createERK6OptionI" STR "E");
TP qos_controller(const OS&) SYM("_ZN5mesos5slave13QoSController6createERK6OptionI" STR "E");
TP containerizer_create(const void* flags, bool local, void* fetcher, void* gc, void* resolver,
  void* gid, void* tracker, void* csi)
  SYM("_ZN5mesos8internal5slave13Containerizer6createERKNS1_5FlagsEbPNS1_7FetcherEPNS1_16GarbageCollectorEPNS_14SecretResolverEPNS1_16VolumeGidManagerEPNS0_20PendingFutureTrackerEPNS1_9CSIServerE");
Try<void*> detector_create(const OS& zk, const OS& module, const Option<Duration>&)
  SYM("_ZN5mesos6master8detector14MasterDetector6createERK6OptionI" STR "ESC_RKS3_I8DurationE");
void slave_ctor(void*, const std::string& id, const void* flags, void* detector, void* containerizer,
  void* files, void* gc, void* tsum, void* estimator, void* qos, void* secretGenerator,
  void* gid, void* tracker, void* ownedCsi, const Blob& noSocket, const Option<void*>& authorizer)
  SYM("_ZN5mesos8internal5slave5SlaveC1ERK" STR "RKNS1_5FlagsEPNS_6master8detector14MasterDetectorEPNS1_13ContainerizerEPNS0_5FilesEPNS1_16GarbageCollectorEPNS1_23TaskStatusUpdateManagerEPNS_5slave17ResourceEstimatorEPNSQ_13QoSControllerEPNS_15SecretGeneratorEPNS1_16VolumeGidManagerEPNS0_20PendingFutureTrackerEON7process5OwnedINS1_9CSIServerEEERK6OptionINS11_7network8internal6SocketINS17_4unix7AddressEEEERKS16_IPNS_10AuthorizerEE");

void launch_flags_ctor(void*) SYM("_ZN5mesos8internal5slave24MesosContainerizerLaunch5FlagsC1Ev");
int launch_execute(void*) SYM("_ZN5mesos8internal5slave24MesosContainerizerLaunch7executeEv");

static void* mem(size_t n = 65536) { return calloc(1, n); }
static void* base(void* o) { return (char*)o + (*(long**)o)[-3]; }   // the only virtual base
static void die(const std::string& m) { fprintf(stderr, "%s\n", m.c_str()); exit(1); }
static void* must(const TP& t, const char* what) {
  if (t.data.state) die(std::string(what) + ": " + (t.error.state ? "?" : t.error.t.message));
  return t.data.t;
}

static int argc_; static char** argv_;
static OS flag(const std::string& name) {
  for (int i = 1; i < argc_; i++) {
    std::string a = argv_[i];
    if (a.rfind("--" + name + "=", 0) == 0) return OS(a.substr(name.size() + 3));
  }
  std::string e = "MESOS_" + name;
  for (auto& c : e) c = toupper(c);
  if (const char* v = getenv(e.c_str())) return OS(std::string(v));
  return OS();
}
static Option<Duration> session_timeout() {     // --zk_session_timeout=Nsecs, nothing else
  OS v = flag("zk_session_timeout");
  return v.state ? Option<Duration>() : Option<Duration>(Duration{atol(v.t.c_str()) * 1000000000L});
}
static void env_from(const char* f, const char* e, const char* dflt) {
  OS v = flag(f);
  if (!v.state) setenv(e, v.t.c_str(), 1);
  else if (dflt) setenv(e, dflt, 0);
}
static void network(const char* port) {
  env_from("ip", "LIBPROCESS_IP", "127.0.0.1");
  env_from("port", "LIBPROCESS_PORT", port);
  env_from("advertise_ip", "LIBPROCESS_ADVERTISE_IP", nullptr);
  env_from("advertise_port", "LIBPROCESS_ADVERTISE_PORT", nullptr);
}
static void load(void* flagsBase, const char* prefix, int argc, char** argv) {
  Try<Warnings> t = flags_load(flagsBase, OS(std::string(prefix)), argc, argv, false, false);
  if (t.data.state) die("flags: " + (t.error.state ? std::string("?") : t.error.t.message));
}
static void initialize(const std::string& id, const std::string& who) {
  Blob none; *(int*)none.b = 1;
  log_initialize(argv_[0], true, none);
  p_initialize(id, "mesos-" + who + "-readwrite", "mesos-" + who + "-readonly");
  void* v = mem(); version_ctor(v); p_spawn(base(v), false);
}
static void wait_for(const void* processBase) {
  char upid[1024] = {0}; upid_ctor(upid, processBase);
  p_wait(upid, Duration{-1000000000L});
}

static int master_main() {
  network("5050");
  char* flags = (char*)mem();
  master_flags_ctor(flags);
  load(flags + 0xc20 /* OFFSET of FlagsBase */, "MESOS_", argc_, argv_);
  OS dir = flag("work_dir"), zk = flag("zk"), registry = flag("registry"), quorum = flag("quorum");
  initialize("master", "master");
  void* allocator = mem(1 << 20); allocator_ctor(allocator);
  void* storage = mem();
  if (!registry.state && registry.t == "in_memory") memory_ctor(storage);
  else {
    if (dir.state) die("--work_dir is needed");
    mkdir(dir.t.c_str(), 0755);
    void* log = mem();
    if (!zk.state) {                         // zk://host:port,host:port/path
      if (quorum.state) die("--quorum is needed");
      std::string u = zk.t.substr(5), p;
      size_t sl = u.find('/');
      p = u.substr(sl); u = u.substr(0, sl);
      Blob noAuth; *(int*)noAuth.b = 1;
      log_zk_ctor(log, atoi(quorum.t.c_str()), dir.t + "/replicated_log", u, session_timeout().state ? Duration{10000000000L} : session_timeout().t,
        p + "/log_replicas", noAuth, true, OS(std::string("registrar/")));
    } else log_ctor(log, 1, dir.t + "/replicated_log", Upids(), true, OS(std::string("registrar/")));
    log_storage_ctor(storage, log, 0);
  }
  void** state = (void**)mem(); state[0] = state_vtable + 2; state[1] = storage;
  OS realm(std::string("mesos-master-readonly"));
  void* registrar = mem(); registrar_ctor(registrar, flags, state, realm);
  void* contender = must(contender_create(zk, OS(), session_timeout()), "contender");
  void* detector = must(detector_create(zk, OS(), session_timeout()), "detector");
  Option<void*> authorizer;
  if (*(int*)(flags + 0x260) == 0) {         // OFFSET of the option --acls
    authorizer.state = 0; authorizer.t = must(authorizer_create(flags + 0x268), "authorizer");
    auth_set(auth_callbacks(authorizer.t));
  }
  void* files = mem(); files_ctor(files, realm, authorizer);
  Blob noLimiter; *(int*)noLimiter.b = 1;
  char* master = (char*)mem(1 << 20);
  master_ctor(master, allocator, registrar, files, contender, detector, authorizer, noLimiter, flags);
  if (zk.state) {
    char* info = (char*)mem(); masterinfo_copy(info + 8, master + 0xe88 /* OFFSET of info_ */);
    appoint(detector, info);
  }
  p_spawn(base(master), false);
  wait_for(base(master));
  return 0;
}

static int agent_main() {
  network("5051");
  OS dir = flag("work_dir"), master = flag("master");
  if (dir.state || master.state) die("--work_dir and --master are needed");
  char* flags = (char*)mem();
  slave_flags_ctor(flags);
  load(flags + 0x1398 /* OFFSET of FlagsBase */, "MESOS_", argc_, argv_);
  std::string id = p_generate("slave");
  initialize(id, "agent");
  void* fetcher = mem(); fetcher_ctor(fetcher, flags);
  void* gc = mem(); gc_ctor(gc, dir.t);
  void* resolver = must(secret_resolver(flag("secret_resolver")), "secret resolver");
  void* jwt = nullptr;
  OS key = flag("jwt_secret_key");
  if (!key.state) {
    FILE* k = fopen(key.t.c_str(), "r"); char b[4096];
    if (!k) die("cannot read the jwt secret key");
    std::string s(b, fread(b, 1, sizeof b, k)); fclose(k);
    jwt = mem(); jwt_ctor(jwt, s);
  }
  void* cont = must(containerizer_create(flags, false, fetcher, gc, resolver, 0, 0, 0), "containerizer");
  void* det = must(detector_create(master, OS(), Option<Duration>()), "detector");
  Option<void*> noAuth;
  void* files = mem(); files_ctor(files, OS(std::string("mesos-agent-readonly")), noAuth);
  void* tsum = mem(); tsum_ctor(tsum, flags);
  void* est = must(resource_estimator(flag("resource_estimator")), "resource estimator");
  void* qos = must(qos_controller(flag("qos_controller")), "QoS controller");
  void* csi[2] = {0, 0};
  Blob noSocket; *(int*)noSocket.b = 1;
  void* slave = mem(1 << 20);
  slave_ctor(slave, id, flags, det, cont, files, gc, tsum, est, qos, jwt, 0, 0, csi, noSocket, noAuth);
  p_spawn(base(slave), false);
  wait_for(base(slave));
  return 0;
}

static int containerizer_main() {
  if (argc_ < 2 || strcmp(argv_[1], "launch")) die("only 'launch' is here");
  char* o = (char*)mem();
  new (o + 8) std::string("launch");
  launch_flags_ctor(o + 0xe0);               // OFFSETs of flags and of its FlagsBase
  load(o + 0x168, "MESOS_CONTAINERIZER_", argc_ - 1, argv_ + 1);
  return launch_execute(o);
}

int main(int argc, char** argv) {
  std::string n = argv[0];
  n = n.substr(n.rfind('/') + 1);
  argc_ = argc; argv_ = argv;
  if (n == "mesos-tool" && argc > 1) { n = std::string("mesos-") + argv[1]; argc_--; argv_++; }
  if (n == "mesos-master") _exit(master_main());
  if (n == "mesos-agent") _exit(agent_main());
  if (n == "mesos-containerizer") return containerizer_main();
  die("mesos-master | mesos-agent | mesos-containerizer");
}
