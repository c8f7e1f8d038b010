// data/corpus_inputs.h: inside data: the files a source names, and the documents in them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/corpus.h"

namespace dure {

struct InputFile {
  Path path;
  std::string label;     // "manual/ko/ch01.html": name of the source, path below its folder.
  std::string language;  // "" where neither the source nor a folder says.
};

// All files of a source in a fixed order (paths as given, each folder sorted). Adds to
// `skipped_count` the files in folders that have no known kind. Throws kNotFound (with the source's
// hint), kInvalidArgument (nothing matched).
std::vector<InputFile> find_inputs(const CorpusSource& source, int64_t& skipped_count);

// Calls `use` for each document of a file. Text is tidy UTF-8; a file or line that cannot be used
// goes to `bad`. A file that cannot be opened is thrown; damaged content is a bad record.
void read_documents(const InputFile& file, BadRecords& bad, const std::function<void(Record)>& use);

}  // namespace dure
