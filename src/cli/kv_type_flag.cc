// Declares and reads --kv-type.
#include "cli/kv_type_flag.h"

#include "base/error.h"
#include "cli/args.h"

namespace dure {

namespace {

struct Named {
  const char* name;
  DType dtype;
};
constexpr Named kTypes[] = {
    {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}, {"q8_0", DType::kQ8_0}};

}  // namespace

void KvTypeFlag::declare(Args& args) {
  args.option("--kv-type", name,
              name ? "of keys and values: f32, f16, bf16 or q8_0"
                   : "of keys and values: f32, f16, bf16 or q8_0 (8 bits, a scale for each 32; "
                     "default: f16 with integer8, else f32)");
}

DType KvTypeFlag::wanted(Arithmetic arithmetic) const {
  if (!name) return arithmetic == Arithmetic::kInteger8 ? DType::kF16 : DType::kF32;
  for (const Named& type : kTypes) {
    if (type.name == *name) return type.dtype;
  }
  fail(ErrorCode::kInvalidArgument, "--kv-type '{}': give f32, f16, bf16 or q8_0", *name);
}

std::string kv_type_name(DType dtype) {
  for (const Named& type : kTypes) {
    if (type.dtype == dtype) return type.name;
  }
  return "f32";
}

}  // namespace dure
