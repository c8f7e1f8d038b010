// suite/data_files.h: where the files of benchmarks lie on this machine, and what to do where they
// do not.
//
// Looks in the folders it is given (--data, DURE_DATA) under every name a file has, then in the
// Hugging Face cache (HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub; its layout:
// datasets--ORG--NAME/snapshots/REVISION/...). Nothing is ever downloaded. Not here: reading
// (row_reader.h).
#pragma once

#include <string>
#include <vector>

#include "base/file.h"
#include "suite/task_spec.h"

namespace dure {

// Before the name of a file in the program (shipped.h: items/).
inline constexpr std::string_view kShippedItems = "shipped:";

struct DataFolders {
  std::vector<Path> folders;
  Path hub;  // the cache's folder of data sets; empty: none
};

// `given`, then those of DURE_DATA (":" between them); the cache as its variables say.
DataFolders data_folders(const std::vector<std::string>& given);

struct FoundFile {
  const SourceFile* file = nullptr;
  std::vector<Path> paths;  // several where its name has a `*`; empty: missing
};

std::vector<FoundFile> find_files(const TaskSource& source, const DataFolders& folders);
bool all_found(const std::vector<FoundFile>& files);

// What is missing, where it comes from, its licence, and how to place it; several lines.
std::string missing_text(const TaskSpec& task, const std::vector<FoundFile>& files,
                         const DataFolders& folders);

}  // namespace dure
