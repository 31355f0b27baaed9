// The N-API binding: memory, thread pools and kernel launches for src/backends/native.ts, which is its only caller and
// checks what users do. What is checked here is what would crash the process: unknown addresses, ranges, an instruction
// set that this processor lacks.
//
// Context-aware: each JavaScript thread that loads it has an Instance of its own, and what the thread leaves behind is
// freed when it ends. Plain C N-API, so that nothing but Node's own headers is needed.
#define NAPI_VERSION 8
#include <node_api.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <new>
#include <unordered_map>
#include <vector>

#include "cpu.h"
#include "file-map.h"
#include "kernels.h"  // written by build-native.js: BITNET_KERNELS, BITNET_ISAS, BITNET_SOURCES
#include "pool.h"

namespace bitnet {

#define DECLARE(isa)                       \
  namespace isa {                          \
  extern const KernelFunction kernels[];   \
  }
BITNET_ISAS(DECLARE)
#undef DECLARE

namespace {

// Raised when the functions below change, so that native.ts can tell an addon of another version.
constexpr int kInterface = 2;

#define NAME(name) #name,
const char* const kernel_names[] = {BITNET_KERNELS(NAME) nullptr};
const char* const isa_names[] = {BITNET_ISAS(NAME) nullptr};
#undef NAME
#define TABLE(isa) isa::kernels,
const KernelFunction* const tables[] = {BITNET_ISAS(TABLE) nullptr};
#undef TABLE
constexpr size_t kKernels = sizeof(kernel_names) / sizeof(*kernel_names) - 1;
constexpr size_t kIsas = sizeof(isa_names) / sizeof(*isa_names) - 1;

// Asked of the processor once: in a virtual machine CPUID takes tens of microseconds.
bool supported(size_t isa) {
  static const std::vector<bool> answers = [] {
    std::vector<bool> list;
    for (size_t i = 0; i < kIsas; i++) list.push_back(processor_has(isa_names[i]));
    return list;
  }();
  return answers[isa];
}

constexpr size_t kMaxArguments = Command::kMost;  // buffers, and numbers, of one kernel

// Commands of one instruction set. They were checked when there had been `frees` frees; after another, addresses are
// looked up again before they run.
struct Program {
  uint64_t frees;
  std::vector<Command> commands;
};

struct Instance {
  std::unordered_map<uintptr_t, size_t> allocations;
  std::unordered_map<uintptr_t, FileMap*> maps;  // kernels may read these too; nothing else touches them
  uint64_t frees = 0;
  std::vector<Pool*> pools;  // by id; null where closed
  std::vector<Program*> programs;  // the same
};

// ---- memory: 64-byte aligned; all but small blocks straight from the system, so that freeing gives them back (malloc
// keeps freed blocks of up to 32 MiB once it has seen such a size); large ones in huge pages, which a training step's
// gigabytes want.

constexpr size_t kHuge = 2u << 20;
constexpr size_t kPages = 64u << 10;  // a multiple of every system's page
bool is_mapped(size_t bytes) { return bytes >= 4 * kPages; }
bool is_huge(size_t bytes) { return bytes >= 2 * kHuge; }
size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

void* take_memory(size_t bytes) {
  void* p = nullptr;
  if (!is_mapped(bytes)) return posix_memalign(&p, 64, bytes) == 0 ? p : nullptr;
  const size_t kept = round_up(bytes, kPages);
  if (!is_huge(bytes)) {
    p = mmap(nullptr, kept, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    return p == MAP_FAILED ? nullptr : p;
  }
  // Map more than is wanted, keep the piece that begins at a huge page, and give back what is before and after it.
  void* map = mmap(nullptr, kept + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (map == MAP_FAILED) return nullptr;
  const uintptr_t start = reinterpret_cast<uintptr_t>(map), aligned = round_up(start, kHuge);
  if (aligned > start) munmap(map, aligned - start);
  if (start + kHuge > aligned) munmap(reinterpret_cast<void*>(aligned + kept), start + kHuge - aligned);
  p = reinterpret_cast<void*>(aligned);
#ifdef MADV_HUGEPAGE
  madvise(p, kept, MADV_HUGEPAGE);
#endif
  return p;
}

void give_memory(void* p, size_t bytes) {
  if (is_mapped(bytes))
    munmap(p, round_up(bytes, kPages));
  else
    ::free(p);
}

// ---- arguments

// One call from JavaScript: its instance and arguments. A failure is thrown to JavaScript, and stops at the first.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = kMost;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
    napi_get_instance_data(env, &data);
    instance = static_cast<Instance*>(data);
  }

  // A whole number in [0, 2^53).
  uint64_t number(int i) {
    double value = -1;
    if (napi_get_value_double(env_, values_[i], &value) != napi_ok || !(value >= 0 && value < 9007199254740992.0) ||
        value != static_cast<double>(static_cast<uint64_t>(value))) {
      fail("native addon: argument is not a whole number");
      return 0;
    }
    return static_cast<uint64_t>(value);
  }

  // The bytes of a typed array.
  void* bytes(int i, size_t* size) {
    static const size_t widths[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
    napi_typedarray_type type;
    void* data = nullptr;
    size_t length = 0;
    if (napi_get_typedarray_info(env_, values_[i], &type, &length, &data, nullptr, nullptr) != napi_ok ||
        static_cast<size_t>(type) >= sizeof(widths) / sizeof(*widths)) {
      fail("native addon: argument is not a typed array");
      return nullptr;
    }
    *size = length * widths[type];
    return data;
  }

  void fail(const char* message) {
    if (ok) napi_throw_error(env_, nullptr, message);
    ok = false;
  }

  Instance* instance = nullptr;
  bool ok = true;

 private:
  static constexpr size_t kMost = 5;
  napi_env env_;
  napi_value values_[kMost];  // undefined where not given
};

// ---- the functions

// createPool(threads): id
napi_value create_pool(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint64_t threads = args.number(0);
  if (threads < 1 || threads > Pool::kMaxThreads) args.fail("native addon: threads must be 1 to 256");
  if (!args.ok) return nullptr;
  Pool* pool = Pool::create(static_cast<int>(threads));
  if (!pool) {
    args.fail("native addon: the system gave no memory or no threads for the pool");
    return nullptr;
  }
  args.instance->pools.push_back(pool);
  napi_value id;
  napi_create_uint32(env, static_cast<uint32_t>(args.instance->pools.size() - 1), &id);
  return id;
}

Pool* pool_of(Arguments& args, int i) {
  const uint64_t id = args.number(i);
  const auto& pools = args.instance->pools;
  Pool* pool = id < pools.size() ? pools[id] : nullptr;
  if (!pool) args.fail("native addon: no such pool");
  return pool;
}

// closePool(id)
napi_value close_pool(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  Pool* pool = pool_of(args, 0);
  if (!args.ok) return nullptr;
  args.instance->pools[args.number(0)] = nullptr;
  Pool::destroy(pool);
  return nullptr;
}

// allocate(bytes): address, or 0 where there is no room
napi_value allocate(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint64_t bytes = args.number(0);
  if (!args.ok) return nullptr;
  // Addresses end at 2^47 or so: anything near it is no size, and adding an alignment to it must not overflow.
  void* p = bytes > 0 && bytes < (UINT64_C(1) << 47) ? take_memory(bytes) : nullptr;
  if (p) args.instance->allocations.emplace(reinterpret_cast<uintptr_t>(p), bytes);
  napi_value address;
  napi_create_double(env, static_cast<double>(reinterpret_cast<uintptr_t>(p)), &address);
  return address;
}

// free(address)
napi_value release(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  auto& allocations = args.instance->allocations;
  const auto found = allocations.find(args.number(0));
  if (found == allocations.end()) args.fail("native addon: free of an unknown address");
  if (!args.ok) return nullptr;
  give_memory(reinterpret_cast<void*>(found->first), found->second);
  allocations.erase(found);
  args.instance->frees++;
  return nullptr;
}

// Where write and read work: [address + offset, + the array's bytes) must be inside one allocation.
uint8_t* range_of(Arguments& args, void** host, size_t* size) {
  const auto found = args.instance->allocations.find(args.number(0));
  const uint64_t offset = args.number(1);
  *host = args.bytes(2, size);
  if (!args.ok) return nullptr;
  if (found == args.instance->allocations.end() || offset > found->second || *size > found->second - offset) {
    args.fail("native addon: bytes outside an allocation");
    return nullptr;
  }
  return reinterpret_cast<uint8_t*>(found->first) + offset;
}

// write(address, offset, typedArray): into the allocation
napi_value write_bytes(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  void* host;
  size_t size = 0;
  uint8_t* p = range_of(args, &host, &size);
  if (p && size > 0) memcpy(p, host, size);
  return nullptr;
}

// read(address, offset, typedArray): out of the allocation
napi_value read_bytes(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  void* host;
  size_t size = 0;
  const uint8_t* p = range_of(args, &host, &size);
  if (p && size > 0) memcpy(host, p, size);
  return nullptr;
}

// mapFile(descriptor, offset, bytes): the address of a file's bytes, read-only; 0 where the file is shorter, -1 where the
// system does not map it
napi_value map_file(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint64_t descriptor = args.number(0), offset = args.number(1), bytes = args.number(2);
  if (args.ok && (descriptor > INT32_MAX || bytes == 0)) args.fail("native addon: no such file, or no bytes of it");
  if (!args.ok) return nullptr;
  FileMap* map = nullptr;
  const FileMap::Answer answer = FileMap::open(static_cast<int>(descriptor), offset, bytes, &map);
  double address = answer == FileMap::kShort ? 0 : -1;
  if (map) {
    address = static_cast<double>(reinterpret_cast<uintptr_t>(map->bytes()));
    args.instance->maps.emplace(reinterpret_cast<uintptr_t>(map->bytes()), map);
  }
  napi_value value;
  napi_create_double(env, address, &value);
  return value;
}

// unmapFile(address): whether the file was whole all the time; what was cut off was read as zeros
napi_value unmap_file(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  auto& maps = args.instance->maps;
  const auto found = maps.find(args.number(0));
  if (found == maps.end()) args.fail("native addon: no such map");
  if (!args.ok) return nullptr;
  const bool whole = FileMap::close(found->second);
  maps.erase(found);
  args.instance->frees++;
  napi_value value;
  napi_get_boolean(env, whole, &value);
  return value;
}

bool is_known(const Instance& instance, uintptr_t address) {
  return instance.allocations.count(address) != 0 || instance.maps.count(address) != 0;
}

// The buffers and numbers of one kernel into a command; address 0 is a null buffer.
void fill_command(Arguments& args, uint64_t isa, uint64_t kernel, const double* addresses, size_t count,
                  const double* numbers, size_t number_count, Command* command) {
  if (args.ok && (isa >= kIsas || !supported(isa))) args.fail("native addon: no such instruction set");
  if (args.ok && kernel >= kKernels) args.fail("native addon: no such kernel");
  if (args.ok && (count > kMaxArguments || number_count > kMaxArguments))
    args.fail("native addon: a kernel has at most 32 buffers and 32 numbers");
  if (!args.ok) return;
  command->kernel = tables[isa][kernel];
  for (size_t i = 0; i < kMaxArguments; i++) {
    const uintptr_t address = i >= count ? 0 : addresses[i] >= 0 ? static_cast<uintptr_t>(addresses[i]) : 1;
    if (address != 0 && !is_known(*args.instance, address))
      args.fail("native addon: launch with an unknown address");
    command->buffers[i] = reinterpret_cast<void*>(address);
    command->numbers[i] = i < number_count ? numbers[i] : 0;
  }
}

// createProgram(isa, commands: Float64Array): id. A command is 65 numbers: the kernel, 32 addresses, 32 numbers.
napi_value create_program(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint64_t isa = args.number(0);
  size_t bytes = 0;
  const double* from = static_cast<const double*>(args.bytes(1, &bytes));
  constexpr size_t kEach = 1 + 2 * kMaxArguments;
  const size_t count = bytes / sizeof(double) / kEach;
  if (args.ok && bytes != count * kEach * sizeof(double)) args.fail("native addon: commands are not whole");
  if (!args.ok) return nullptr;
  Program* program = new (std::nothrow) Program{args.instance->frees, {}};
  if (!program) {
    args.fail("native addon: no memory for a program");
    return nullptr;
  }
  program->commands.resize(count);
  for (size_t i = 0; i < count && args.ok; i++, from += kEach) {
    const uint64_t kernel = from[0] >= 0 ? static_cast<uint64_t>(from[0]) : kKernels;
    fill_command(args, isa, kernel, from + 1, kMaxArguments, from + 1 + kMaxArguments, kMaxArguments,
                 &program->commands[i]);
  }
  if (!args.ok) {
    delete program;
    return nullptr;
  }
  args.instance->programs.push_back(program);
  napi_value id;
  napi_create_uint32(env, static_cast<uint32_t>(args.instance->programs.size() - 1), &id);
  return id;
}

// runProgram(pool, id): returns when all its kernels have ended.
napi_value run_program(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  Pool* pool = pool_of(args, 0);
  const uint64_t id = args.number(1);
  const auto& programs = args.instance->programs;
  Program* program = id < programs.size() ? programs[id] : nullptr;
  if (args.ok && !program) args.fail("native addon: no such program");
  if (!args.ok) return nullptr;
  if (program->frees != args.instance->frees) {
    for (const Command& command : program->commands) {
      for (void* buffer : command.buffers) {
        if (buffer && !is_known(*args.instance, reinterpret_cast<uintptr_t>(buffer)))
          args.fail("native addon: a program's memory was freed");
      }
    }
    if (!args.ok) return nullptr;
    program->frees = args.instance->frees;
  }
  pool->run(program->commands.data(), program->commands.size());
  return nullptr;
}

// freeProgram(id)
napi_value free_program(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  const uint64_t id = args.number(0);
  auto& programs = args.instance->programs;
  if (args.ok && (id >= programs.size() || !programs[id])) args.fail("native addon: no such program");
  if (!args.ok) return nullptr;
  delete programs[id];
  programs[id] = nullptr;
  while (!programs.empty() && !programs.back()) programs.pop_back();
  return nullptr;
}

// launch(pool, isa, kernel, addresses: Float64Array, numbers: Float64Array); address 0 is a null buffer. Returns when
// the kernel has ended.
napi_value launch(napi_env env, napi_callback_info info) {
  Arguments args(env, info);
  Pool* pool = pool_of(args, 0);
  const uint64_t isa = args.number(1), kernel = args.number(2);
  size_t address_bytes = 0, number_bytes = 0;
  const double* addresses = static_cast<const double*>(args.bytes(3, &address_bytes));
  const double* numbers = static_cast<const double*>(args.bytes(4, &number_bytes));
  Command command;
  fill_command(args, isa, kernel, addresses, address_bytes / sizeof(double), numbers, number_bytes / sizeof(double),
               &command);
  if (args.ok) pool->run(command.kernel, command.buffers, command.numbers);
  return nullptr;
}

void clean_up(void* data) {
  Instance* instance = static_cast<Instance*>(data);
  for (Pool* pool : instance->pools)
    if (pool) Pool::destroy(pool);
  for (Program* program : instance->programs) delete program;
  for (const auto& [address, map] : instance->maps) FileMap::close(map);
  for (const auto& [address, bytes] : instance->allocations) give_memory(reinterpret_cast<void*>(address), bytes);
  delete instance;
}

napi_value names(napi_env env, const char* const* list, size_t count) {
  napi_value array, text;
  napi_create_array_with_length(env, count, &array);
  for (size_t i = 0; i < count; i++) {
    napi_create_string_utf8(env, list[i], NAPI_AUTO_LENGTH, &text);
    napi_set_element(env, array, static_cast<uint32_t>(i), text);
  }
  return array;
}

}  // namespace
}  // namespace bitnet

// Exports the functions above, and: interface (a number), sources (a hash), kernels and isas (names, by index),
// supported (for each isa, whether this processor has it).
NAPI_MODULE_INIT() {
  using namespace bitnet;
  Instance* instance = new (std::nothrow) Instance;
  if (!instance) return nullptr;
  napi_set_instance_data(env, instance, nullptr, nullptr);
  napi_add_env_cleanup_hook(env, clean_up, instance);

  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {{"createPool", create_pool}, {"closePool", close_pool}, {"allocate", allocate}, {"free", release},
                   {"write", write_bytes},      {"read", read_bytes},      {"launch", launch},
                   {"createProgram", create_program}, {"runProgram", run_program}, {"freeProgram", free_program},
                   {"mapFile", map_file},       {"unmapFile", unmap_file}};
  napi_value value;
  for (const auto& [name, function] : functions) {
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  }
  napi_create_int32(env, kInterface, &value);
  napi_set_named_property(env, exports, "interface", value);
  napi_create_string_utf8(env, BITNET_SOURCES, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, exports, "sources", value);
  napi_set_named_property(env, exports, "kernels", names(env, kernel_names, kKernels));
  napi_set_named_property(env, exports, "isas", names(env, isa_names, kIsas));
  napi_value answers;
  napi_create_array_with_length(env, kIsas, &answers);
  for (size_t i = 0; i < kIsas; i++) {
    napi_get_boolean(env, supported(i), &value);
    napi_set_element(env, answers, static_cast<uint32_t>(i), value);
  }
  napi_set_named_property(env, exports, "supported", answers);
  return exports;
}
