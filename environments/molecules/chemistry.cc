// RDKit's parts behind one class; molecules are parsed once a call.
#include "molecules/chemistry.h"

#include <DataStructs/BitOps.h>
#include <DataStructs/ExplicitBitVect.h>
#include <GraphMol/Chirality.h>
#include <GraphMol/Descriptors/Crippen.h>
#include <GraphMol/Descriptors/Lipinski.h>
#include <GraphMol/Descriptors/MolDescriptors.h>
#include <GraphMol/Descriptors/MolSurf.h>
#include <GraphMol/FilterCatalog/FilterCatalog.h>
#include <GraphMol/Fingerprints/MorganFingerprints.h>
#include <GraphMol/GraphMol.h>
#include <GraphMol/SmilesParse/SmilesParse.h>
#include <GraphMol/SmilesParse/SmilesWrite.h>
#include <RDGeneral/RDLog.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace dure::molecules {
namespace {

using Molecule = std::unique_ptr<RDKit::ROMol>;

Molecule parse(const std::string& smiles) {
  const auto printable = [](unsigned char c) { return c > ' ' && c < 127 && c != '.'; };
  if (smiles.empty() || smiles.size() > 300 ||
      !std::all_of(smiles.begin(), smiles.end(), printable))
    return nullptr;
  try {
    Molecule molecule(RDKit::SmilesToMol(smiles));
    if (molecule == nullptr || molecule->getNumHeavyAtoms() > 70) return nullptr;
    bool carbon = false;
    for (const auto* atom : molecule->atoms()) carbon |= atom->getAtomicNum() == 6;
    return carbon ? std::move(molecule) : nullptr;
  } catch (...) {  // What RDKit throws of a text that is no molecule is of many kinds.
    return nullptr;
  }
}

// One desirability: an asymmetric double sigmoid (Bickerton 2012, equation 2) over its maximum.
struct Desirability {
  double a, b, c, d, e, f, maximum, weight;
  double at(double x) const {
    const double rising = 1 + std::exp(-(x - c + d / 2) / e);
    const double falling = 1 + std::exp(-(x - c - d / 2) / f);
    return (a + b / rising * (1 - 1 / falling)) / maximum;
  }
};

// Supplementary table 1 of the paper; weights: the mean of its best thousand sets.
constexpr std::array<Desirability, 8> kDesirabilities = {{
    {2.817065973, 392.5754953, 290.7489764, 2.419764353, 49.22325677, 65.37051707, 104.9805561,
     0.66},
    {3.172690585, 137.8624751, 2.534937431, 4.581497897, 0.822739154, 0.576295591, 131.3186604,
     0.46},
    {2.948620388, 160.4605972, 3.615294657, 4.435986202, 0.290141953, 1.300669958, 148.7763046,
     0.05},
    {1.618662227, 1010.051101, 0.985094388, 1e-9, 0.713820843, 0.920922555, 258.1632616, 0.61},
    {1.876861559, 125.2232657, 62.90773554, 87.83366614, 12.01999824, 28.51324732, 104.5686167,
     0.06},
    {0.01, 272.4121427, 2.558379970, 1.565547684, 1.271567166, 2.758063707, 105.4420403, 0.65},
    {3.217788970, 957.7374108, 2.274627939, 1e-9, 1.317690384, 0.375760881, 312.3372610, 0.48},
    {0.01, 1199.094025, -0.09002883, 1e-9, 0.185904477, 0.875193782, 417.7253140, 0.95},
}};

double drug_likeness(const std::array<double, 8>& values) {
  double sum = 0;
  double weights = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += kDesirabilities[i].weight * std::log(kDesirabilities[i].at(values[i]));
    weights += kDesirabilities[i].weight;
  }
  return std::exp(sum / weights);
}

// Centres that are stereogenic, assigned or not.
unsigned stereo_centres(const RDKit::ROMol& molecule) {
  RDKit::ROMol copy(molecule);
  RDKit::MolOps::assignStereochemistry(copy, true, true, true);
  unsigned count = 0;
  for (const auto* atom : copy.atoms())
    count += atom->hasProp(RDKit::common_properties::_ChiralityPossible) ||
                     atom->hasProp(RDKit::common_properties::_CIPCode)
                 ? 1
                 : 0;
  return count;
}

double complexity(const RDKit::ROMol& molecule) {
  const double atoms = molecule.getNumAtoms();
  const auto& rings = molecule.getRingInfo()->atomRings();
  const bool macrocycle =
      std::any_of(rings.begin(), rings.end(), [](const auto& ring) { return ring.size() > 8; });
  return std::pow(atoms, 1.005) - atoms + std::log10(stereo_centres(molecule) + 1.0) +
         std::log10(RDKit::Descriptors::calcNumSpiroAtoms(molecule) + 1.0) +
         std::log10(RDKit::Descriptors::calcNumBridgeheadAtoms(molecule) + 1.0) +
         (macrocycle ? std::log10(2.0) : 0);
}

// From 1 to 10; `raw` is the published sum, whose range is -4 to 2.5.
double accessibility(double raw) {
  double score = 11 - (raw + 5) / 6.5 * 9;
  if (score > 8) score = 8 + std::log(score - 8);
  return std::clamp(score, 1.0, 10.0);
}

}  // namespace

struct Chemistry::Tools {
  explicit Tools(const Path& path)
      : fragments(read_fragment_scores(path)),
        alerts(RDKit::FilterCatalogParams(RDKit::FilterCatalogParams::BRENK)) {}
  std::unordered_map<uint32_t, double> fragments;
  RDKit::FilterCatalog alerts;

  double qed(const RDKit::ROMol& m, double weight, double logp) const {
    using namespace RDKit::Descriptors;
    return drug_likeness(
        {weight, logp, static_cast<double>(calcNumHBA(m)), static_cast<double>(calcNumHBD(m)),
         calcTPSA(m),
         static_cast<double>(calcNumRotatableBonds(m, NumRotatableBondsOptions::Strict)),
         static_cast<double>(calcNumAromaticRings(m)),
         static_cast<double>(alerts.getMatches(m).size())});
  }

  double sa(const RDKit::ROMol& molecule) const {
    const std::unique_ptr<RDKit::SparseIntVect<uint32_t>> print(
        RDKit::MorganFingerprints::getFingerprint(molecule, 2));
    double sum = 0;
    double count = 0;
    for (const auto& [hash, times] : print->getNonzeroElements()) {
      const auto found = fragments.find(hash);
      sum += (found == fragments.end() ? -4 : found->second) * times;
      count += times;
    }
    const double atoms = molecule.getNumAtoms();
    const auto kinds = static_cast<double>(print->getNonzeroElements().size());
    const double symmetry = atoms > kinds ? 0.5 * std::log(atoms / kinds) : 0;
    return accessibility(sum / count - complexity(molecule) + symmetry);
  }
};

Path Chemistry::default_fragment_scores() {
  return "/usr/share/RDKit/Contrib/SA_Score/fpscores.pkl.gz";
}

namespace {

using Fingerprint = std::unique_ptr<ExplicitBitVect>;
Fingerprint fingerprint(const std::string& smiles) {
  return Fingerprint(RDKit::MorganFingerprints::getFingerprintAsBitVect(*parse(smiles), 2, 2048));
}

}  // namespace

Chemistry::Chemistry(const Path& fragment_scores)
    : tools_(std::make_unique<Tools>(fragment_scores)) {
  boost::logging::disable_logs("rdApp.*");
}

Chemistry::~Chemistry() = default;

std::optional<Properties> Chemistry::measure(const std::string& smiles) const {
  const Molecule molecule = parse(smiles);
  if (molecule == nullptr) return std::nullopt;
  try {
    Properties out;
    out.smiles = RDKit::MolToSmiles(*molecule);
    out.weight = RDKit::Descriptors::calcAMW(*molecule);
    double refractivity = 0;
    RDKit::Descriptors::calcCrippenDescriptors(*molecule, out.logp, refractivity);
    out.qed = tools_->qed(*molecule, out.weight, out.logp);
    out.sa = tools_->sa(*molecule);
    return out;
  } catch (...) {  // A molecule that some descriptor cannot be computed of counts as none.
    return std::nullopt;
  }
}

double Chemistry::similarity(const std::string& a, const std::string& b) const {
  return TanimotoSimilarity(*fingerprint(a), *fingerprint(b));
}

double Chemistry::diversity(const std::vector<std::string>& smiles) const {
  std::vector<Fingerprint> prints;
  for (const std::string& one : smiles) prints.push_back(fingerprint(one));
  double sum = 0;
  double pairs = 0;
  for (size_t i = 0; i < prints.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      sum += 1 - TanimotoSimilarity(*prints[i], *prints[j]);
      pairs += 1;
    }
  return pairs == 0 ? 0 : sum / pairs;
}

}  // namespace dure::molecules
