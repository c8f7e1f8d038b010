// train/shared_file.h: a safetensors file that several ranks write, each its own tensors in their
// places: byte for byte the file that one rank would write.
//
// In a folder that is committed as a whole (checkpoint.h): here nothing is staged. Not here: the
// layout of the format (formats/safetensors.h).
#pragma once

#include <vector>

#include "base/file.h"
#include "tensor/device.h"
#include "train/named_tensor.h"

namespace dure {

// Header and size; one rank, before the others write. Throws kNoSpace, kIo, kPermission.
void create_shared_file(const Path& path, const std::vector<NamedTensor>& tensors);

// Writes the tensors that are not `elsewhere`, and returns when they are on the disk. stream: of
// their device (null: host memory).
void write_shared_file(const Path& path, const std::vector<NamedTensor>& tensors, Stream* stream);

}  // namespace dure
