// `dure doctor`: what this machine has, measured where a number says more than a name.
#include <cstdio>

#include "cli/args.h"
#include "cli/verbs.h"
#include "kernels/isa.h"
#include "kernels/peak.h"

namespace dure {
namespace {

void print_isa() {
  std::printf("instruction set: %s (", isa_name(isa()).data());
  for (const Isa i : {Isa::kGeneric, Isa::kAvx2, Isa::kAvx512}) {
    std::printf("%s%s %s", i == Isa::kGeneric ? "" : ", ", isa_name(i).data(),
                isa_available(i) ? "yes" : "no");
  }
  std::printf("; DURE_ISA chooses)\n");
  if (isa() == Isa::kGeneric) {
    std::printf("  without AVX2 and FMA the kernels are correct, but hundreds of times slower\n");
  }
}

void print_peak(Stream& stream) {
  const MachinePeak peak = measure_peak(stream, 1);
  std::printf("arithmetic: %.0f GFLOP/s (f32 fma), one thread %.0f\n", peak.fma_gflops,
              peak.fma_gflops_thread);
  std::printf("memory: reads %.1f GB/s, copies %.1f GB/s (read + written)\n", peak.read_gbytes_s,
              peak.copy_gbytes_s);
}

}  // namespace

std::function<int()> declare_doctor(Args& args) {
  args.examples("  dure doctor\n");
  return [] {
    Stream stream;
    std::printf("threads: %d (DURE_THREADS chooses)\n", stream.thread_count());
    print_isa();
    print_peak(stream);
    return 0;
  };
}

}  // namespace dure
