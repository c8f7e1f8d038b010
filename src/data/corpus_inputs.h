// data/corpus_inputs.h: inside data: the files a source names, and the documents in them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/corpus.h"

namespace dure {

struct InputFile {
  Path path;
  std::string label;     // "manual/ko/ch01.html": name of the source, path below its folder.
  std::string language;  // "" where neither the source nor a folder says.
  // The side on which a prepared corpus has it; absent where it is no file of one.
  std::optional<bool> heldout = {};
  RecordForm form = RecordForm::kAuto;  // Of its records.
};

// All files of a source in a fixed order (paths as given, each folder sorted). Adds to
// `skipped_count` the files in folders that have no known kind. `out`, the folder to be made, is
// passed over where it lies inside a folder that is read. Throws kNotFound (with the source's
// hint), kInvalidArgument (nothing matched; a kind that cannot be read as text, such as .csv).
std::vector<InputFile> find_inputs(const CorpusSource& source, const Path& out,
                                   int64_t& skipped_count);

// Whether `path` lies in `folder` or is it, whatever links lead there.
bool lies_in(const Path& path, const Path& folder);

// Calls `use` for each document of a file. Text is tidy UTF-8; a file or record that cannot be used
// goes to report.bad, keys of messages without a meaning to report.notes. A file that cannot
// be opened is thrown; damaged content is a bad record.
void read_documents(const InputFile& file, CorpusReport& report,
                    const std::function<void(Record)>& use);

}  // namespace dure
