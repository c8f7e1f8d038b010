// Checks of kv_store.h, then the device's own bodies.
#include "kernels/kv_store.h"

#include "kernels/cpu/kv_store.h"
#include "kernels/dispatch.h"

namespace dure {

bool is_kv_type(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

void store_kv(const KvStore& store, ConstTensorView places, ConstTensorView k, ConstTensorView v,
              Stream& stream) {
  places.expect(DType::kI64);
  DURE_CHECK(k.shape.rank() == 3 && k.dim(0) == places.elements() && v.elements() == k.elements(),
             "k {}, v {}, {} places", k.shape.text(), v.shape.text(), places.elements());
  DURE_CHECK(store.keys.dtype == store.values.dtype && is_kv_type(store.keys.dtype),
             "a cache of {}", dtype_info(store.keys.dtype).name);
  dispatch(stream, [&](CpuStream& s) { cpu::store_kv(store, places, k, v, s); });
}

}  // namespace dure
