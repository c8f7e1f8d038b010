// `dure doctor`: what this machine has, measured where a number says more than a name.
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "base/file.h"
#include "base/progress.h"
#include "cli/args.h"
#include "cli/machine_facts.h"
#include "cli/memory_plan.h"
#include "cli/verbs.h"
#include "comm/launcher.h"
#include "comm/mpi_library.h"
#include "kernels/isa.h"
#include "kernels/peak.h"
#include "sandbox/sandboxed_program.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

void print_memory() {
  const MachineMemory memory = machine_memory();
  std::printf("memory: %s, %s of it free\n",
              format_bytes(static_cast<double>(memory.total_bytes)).c_str(),
              format_bytes(static_cast<double>(memory.available_bytes)).c_str());
}

void print_gpus() {
  const Path gpus = "/proc/driver/nvidia/gpus";
  bool any = false;
  if (path_exists(gpus)) {
    for (const auto& entry : std::filesystem::directory_iterator(gpus)) {
      any = true;
      std::printf("GPU: %s (this build computes on the CPU)\n",
                  field_of(entry.path() / "information", "Model").c_str());
    }
  }
  if (!any) std::printf("GPU: none\n");
}

bool on_path(const char* program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (path_exists(Path(folder) / program)) return true;
  }
  return false;
}

// What some verbs use where it is there.
void print_missing() {
  const bool guide = path_exists("/usr/share/doc/installation-guide-amd64");
  if (!on_path("xz"))
    std::printf(
        "missing: xz-utils, beside bits per byte in `dure eval`: apt-get install xz-utils\n");
  if (!guide) {
    std::printf(
        "missing: installation-guide-amd64, the quickstart's text: apt-get install "
        "installation-guide-amd64\n");
  }
  if (guide && on_path("xz")) std::printf("packages: nothing missing\n");
}

void print_sandbox() {
  const auto& missing = sandbox_missing();
  std::printf("sandbox: %s\n",
              missing ? missing->c_str() : "programs can be run (bubblewrap, seccomp)");
}

void print_isa() {
  std::printf("instruction set: %s (", isa_name(isa()).data());
  for (const Isa i : kIsas) {
    std::printf("%s%s %s", i == Isa::kGeneric ? "" : ", ", isa_name(i).data(),
                isa_available(i) ? "yes" : "no");
  }
  std::printf("; DURE_ISA chooses)\n");
  if (isa() == Isa::kGeneric) {
    std::printf("  without AVX2 and FMA the kernels are correct, but hundreds of times slower\n");
  }
}

void print_peak(CpuStream& stream) {
  const MachinePeak peak = measure_peak(stream, 1);
  std::printf("arithmetic: %.0f GFLOP/s (f32 fma), one thread %.0f; %.0f GOP/s (8-bit products)\n",
              peak.fma_gflops, peak.fma_gflops_thread, peak.int8_vector_gops);
  if (peak.bf16_gflops > 0) {
    std::printf("tiles: %.0f GOP/s (8-bit products), %.0f GFLOP/s (bf16)\n", peak.int8_gops,
                peak.bf16_gflops);
  }
  std::printf("bandwidth: reads %.1f GB/s, copies %.1f GB/s (read + written)\n", peak.read_gbytes_s,
              peak.copy_gbytes_s);
}

// What several ranks of a run would be connected by.
void print_ranks() {
  const MpiFound& mpi = find_mpi();
  std::printf("ranks: %s%s\n", mpi.library != nullptr ? "" : "one process; ", mpi.text.c_str());
  if (const std::optional<Launcher> launcher = find_launcher())
    std::printf(
        "launcher: %s, rank %d of %s\n", launcher->name.c_str(), launcher->rank,
        launcher->size ? std::to_string(*launcher->size).c_str() : "a number that MPI says");
}

}  // namespace

std::function<int()> declare_doctor(Args& args) {
  args.examples("  dure doctor\n");
  return [] {
    CpuStream stream;
    std::printf("processor: %s\n", processor_name().c_str());
    std::printf("threads: %d (DURE_THREADS chooses)\n", stream.thread_count());
    print_isa();
    print_memory();
    print_peak(stream);
    print_gpus();
    print_ranks();
    print_missing();
    print_sandbox();
    return 0;
  };
}

}  // namespace dure
