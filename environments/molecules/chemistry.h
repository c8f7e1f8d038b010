// environments/molecules/chemistry.h: what is measured of a molecule, by RDKit.
//
// Owns everything that includes RDKit: validity, canonical SMILES, molecular weight [g/mol], logP
// (Wildman and Crippen, J. Chem. Inf. Comput. Sci. 39 (1999) 868), drug-likeness QED from 0 to 1,
// synthetic accessibility SA from 1 (easy) to 10, and Morgan fingerprints of radius 2 for
// similarity. Not here: what is wanted of a molecule (target.h), how molecules are made
// (fragments.h).
//
// QED: G. R. Bickerton et al., Nature Chemistry 4 (2012) 90: the weighted geometric mean of eight
// desirabilities, with the published parameters and mean weights. Acceptors, aromatic rings and
// alerts are RDKit's own counts (its filters BRENK for the alerts), so that values differ a little
// from those of RDKit's Python module, which has patterns of its own: over the first 1,000 NCI
// molecules of rdkit-data by 0.022 on average, 0.28 at most.
// SA: P. Ertl, A. Schuffenhauer, J. Cheminformatics 1 (2009) 8, with the fragment contributions of
// rdkit-data (fpscores.pkl.gz).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/file.h"

namespace dure::molecules {

struct Properties {
  std::string smiles;  // canonical
  double weight = 0;   // [g/mol]
  double logp = 0;
  double qed = 0;
  double sa = 0;
};

class Chemistry {
 public:
  // Throws Error where the fragment contributions are missing (the package rdkit-data) or damaged.
  explicit Chemistry(const Path& fragment_scores = default_fragment_scores());
  ~Chemistry();
  Chemistry(const Chemistry&) = delete;
  Chemistry& operator=(const Chemistry&) = delete;
  static Path default_fragment_scores();

  // Absent where it is no molecule: no SMILES, impossible valences, more than one part, no carbon,
  // above 300 characters or 70 heavy atoms. Never throws because of what is written.
  std::optional<Properties> measure(const std::string& smiles) const;

  // Tanimoto similarity of two molecules' fingerprints (2048 bits), 0 to 1; both valid.
  double similarity(const std::string& a, const std::string& b) const;
  // Mean of 1 - similarity over all pairs; 0 for fewer than two.
  double diversity(const std::vector<std::string>& smiles) const;

 private:
  struct Tools;
  std::unique_ptr<Tools> tools_;
};

// Contributions of fragments, by the hash of their Morgan environment. Reads the pickle's few
// opcodes: lists of a number and hashes. Throws Error naming the file.
std::unordered_map<uint32_t, double> read_fragment_scores(const Path& path);

}  // namespace dure::molecules
