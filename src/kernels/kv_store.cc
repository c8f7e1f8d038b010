// Checks of kv_store.h, then the device's own bodies.
#include "kernels/kv_store.h"

#include "base/error.h"
#include "kernels/cpu/kv_store.h"
#include "kernels/dispatch.h"

namespace dure {

bool is_kv_type(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16 ||
         dtype == DType::kQ8_0;
}

void require_kv_width(DType dtype, int64_t head_width) {
  const DTypeInfo& info = dtype_info(dtype);
  if (head_width % info.block_elements != 0)
    fail(ErrorCode::kInvalidArgument,
         "keys and values of type {} lie in blocks of {}, heads of this model are {} wide: take "
         "another type",
         info.name, info.block_elements, head_width);
}

void store_kv(const KvStore& store, ConstTensorView places, ConstTensorView k, ConstTensorView v,
              Stream& stream) {
  places.expect(DType::kI64);
  DURE_CHECK(k.shape.rank() == 3 && k.dim(0) == places.elements() && v.elements() == k.elements(),
             "k {}, v {}, {} places", k.shape.text(), v.shape.text(), places.elements());
  DURE_CHECK(store.keys.dtype == store.values.dtype && is_kv_type(store.keys.dtype),
             "a cache of {}", dtype_info(store.keys.dtype).name);
  DURE_CHECK(k.dim(2) % dtype_info(store.keys.dtype).block_elements == 0, "width {}", k.dim(2));
  dispatch(stream, [&](CpuStream& s) { cpu::store_kv(store, places, k, v, s); });
}

}  // namespace dure
