// The choice is made at the first use, from DURE_ISA or the processor, and told to Highway, whose
// dispatch follows it from then on. Tests make others by set_isa().
#include "kernels/isa.h"

#include <hwy/highway.h>

#include <atomic>
#include <cstdlib>

#include "base/check.h"
#include "base/error.h"
#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/integer8_panel.h"

namespace dure {
namespace {

constexpr int kUndecided = -1;
std::atomic<int> g_isa{kUndecided};

int64_t highway_target(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
    case Isa::kAvx512:
      return HWY_AVX3;
    case Isa::kAvx2:
      return HWY_AVX2;
    case Isa::kGeneric:
      return HWY_EMU128;
  }
  return HWY_EMU128;
}

Isa best() {
  for (const Isa isa : {Isa::kAmx, Isa::kAvx512, Isa::kAvx2}) {
    if (isa_available(isa)) return isa;
  }
  return Isa::kGeneric;
}

Isa wanted() {
  const char* text = std::getenv("DURE_ISA");
  if (text == nullptr || *text == 0) return best();
  for (const Isa isa : kIsas) {
    if (isa_name(isa) != text) continue;
    if (!isa_available(isa)) {
      fail(ErrorCode::kUnsupported,
           "DURE_ISA is {}, which this processor does not have; its best is {}", text,
           isa_name(best()));
    }
    return isa;
  }
  fail(ErrorCode::kInvalidArgument, "DURE_ISA is '{}': give generic, avx2, avx512 or amx", text);
}

}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
      return "amx";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kGeneric:
      return "generic";
  }
  return "generic";
}

bool isa_available(Isa isa) {
  if (isa == Isa::kGeneric) return true;
  if ((hwy::SupportedTargets() & highway_target(isa)) == 0) return false;
  return isa != Isa::kAmx || (cpu::integer8_vnni_available() && cpu::amx_available());
}

Isa isa() {
  int now = g_isa.load(std::memory_order_acquire);
  if (now == kUndecided) {
    set_isa(wanted());
    now = g_isa.load(std::memory_order_acquire);
  }
  return static_cast<Isa>(now);
}

void set_isa(Isa isa) {
  DURE_CHECK(isa_available(isa), "{}", isa_name(isa));
  hwy::GetChosenTarget().Update(highway_target(isa));
  g_isa.store(static_cast<int>(isa), std::memory_order_release);
}

}  // namespace dure
