"""Errors, warnings and notes on the data of a config."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from ltmm.utils.class_counts import ClassDistributionError
from ltmm.utils.class_names import check_class_names

from .duplicates import equal_groups, similar_pairs
from .finding import ERROR, NOTE, WARNING, Finding
from .names import class_name_findings, file_name_findings
from .parts import Part

__all__ = ['find_all']

ODD_MODES = {
    'P': 'palette', 'PA': 'palette with transparency', 'RGBA': 'transparency', 'LA': 'gray with transparency',
    'I;16': '16 bit', 'I;16B': '16 bit', 'I': '32 bit', 'F': '32 bit float', 'CMYK': 'CMYK', '1': 'black and white',
}  # fmt: skip
MIN_SIDE, MAX_ASPECT = 32, 4  # pixels; long over short side
TINY_BOX = 4  # pixels of the shorter side


def find_all(parts: Sequence[Part]) -> list[Finding]:
    """Return all findings, errors first."""
    loaded = [part for part in parts if not part.failed]
    findings = [
        Finding(ERROR if part.failed else WARNING, f'{part.name}: {text}') for part in parts for text in part.messages
    ]
    for part in loaded:
        findings += [*_files(part), *_boxes(part), *_same_within(part)]
    for i, part in enumerate(loaded):
        for other in loaded[i + 1 :]:
            findings += _same_between(part, other)
    findings += [*_classes(loaded), *class_name_findings(loaded[0]), *file_name_findings(loaded)]
    order = (ERROR, WARNING, NOTE)
    return sorted(findings, key=lambda finding: order.index(finding.level))


def _files(part: Part) -> Iterable[Finding]:
    facts = part.facts.values()
    broken = [f'{fact.path}: {fact.problem}' for fact in facts if fact.problem]
    if broken:
        yield Finding(ERROR, f'{part.name}: {len(broken)} of {len(facts)} images cannot be read. Repair or remove '
                      'them, or skip up to N of them by --skip-broken N.', broken)  # fmt: skip
    readable = [fact for fact in facts if not fact.problem]
    for kind in dict.fromkeys(ODD_MODES.values()):
        odd = [fact.path for fact in readable if ODD_MODES.get(fact.mode) == kind]
        if odd:
            yield Finding(WARNING, f'{part.name}: {len(odd)} images have {kind} pixels, which loading turns into 8-bit '
                          'color: look at some as the network sees them.', odd)  # fmt: skip
    gray = [fact.path for fact in readable if fact.mode == 'L']
    if 0 < len(gray) < len(readable):
        yield Finding(NOTE, f'{part.name}: {len(gray)} of {len(readable)} images are gray, the others in color.', gray)
    turned = [fact.path for fact in readable if fact.is_turned]
    if turned:
        text = 'loading turns them as a viewer does' + (': check that their boxes fit' if part.boxes else '')
        yield Finding(WARNING if part.boxes else NOTE, f'{part.name}: {len(turned)} images have an EXIF orientation; '
                      f'{text}.', turned)  # fmt: skip
    small = [f'{fact.path}: {fact.size[0]} x {fact.size[1]}' for fact in readable if min(fact.size) < MIN_SIDE]
    if 0 < len(small) < len(readable):
        yield Finding(WARNING, f'{part.name}: {len(small)} images are narrower than {MIN_SIDE} pixels.', small)
    long = [
        f'{fact.path}: {fact.size[0]} x {fact.size[1]}'
        for fact in readable
        if max(fact.size) > MAX_ASPECT * min(fact.size)
    ]
    if long:
        yield Finding(NOTE, f'{part.name}: {len(long)} images are more than {MAX_ASPECT} times as long as wide; a '
                      'center crop shows little of them.', long)  # fmt: skip


def _boxes(part: Part) -> Iterable[Finding]:
    outside, tiny, sizes, total = [], [], [], 0
    for path, (boxes, said) in part.boxes.items():
        total += len(boxes)
        fact = part.facts.get(path)
        if fact is None or fact.problem:
            continue
        if said is not None and said not in (fact.size, fact.size[::-1] if fact.is_turned else fact.size):
            sizes.append(f'{path}: {fact.size[0]} x {fact.size[1]}, annotated as {said[0]} x {said[1]}')
        width, height = said or fact.size
        is_outside = (boxes[:, :2] < -1).any(axis=1) | (boxes[:, 2] > width + 1) | (boxes[:, 3] > height + 1)
        outside += [f'{path}: {np.round(box, 1).tolist()}' for box in boxes[is_outside]]
        is_tiny = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) < TINY_BOX
        tiny += [f'{path}: {np.round(box, 1).tolist()}' for box in boxes[is_tiny]]
    if sizes:
        yield Finding(ERROR, f'{part.name}: {len(sizes)} images have another size than the annotation says.', sizes)
    if outside:
        yield Finding(WARNING, f'{part.name}: {len(outside)} of {total} boxes reach out of the image.', outside)
    if tiny:
        yield Finding(WARNING, f'{part.name}: {len(tiny)} of {total} boxes are narrower than {TINY_BOX} pixels; few '
                      'detectors find them.', tiny)  # fmt: skip
    if part.boxes and total == 0:
        yield Finding(ERROR, f'{part.name}: no image has a box.')


def _digests(part: Part) -> dict[str, bytes]:
    return {path: fact.digest for path, fact in part.facts.items() if not fact.problem}


def _same_within(part: Part) -> Iterable[Finding]:
    labels, groups = part.labels(), equal_groups(_digests(part).items())
    differ = [group for group in groups if len({labels[path] for path in group}) > 1]
    names = part.table.class_names or list(map(str, range(part.table.num_classes)))

    def listed(path: str) -> str:
        return f'{path} ({", ".join(names[label] for label in labels[path]) or "no class"})'

    if differ and not part.boxes:
        yield Finding(ERROR, f'{part.name}: {len(differ)} pictures occur several times with different labels.',
                      [' = '.join(map(listed, group)) for group in differ])  # fmt: skip
    same = [group for group in groups if group not in differ or part.boxes]
    if same:
        copies = sum(map(len, same)) - len(same)
        yield Finding(WARNING, f'{part.name}: {copies} images are copies of others; copies count several times.',
                      [' = '.join(group) for group in same])  # fmt: skip


def _same_between(part: Part, other: Part) -> Iterable[Finding]:
    where = f'{part.name} and {other.name}'
    advice = 'Scores would be too high: remove them from one side.'
    first = defaultdict(list)
    for path, digest in _digests(part).items():
        first[digest].append(path)
    same = [(first[digest][0], path) for path, digest in _digests(other).items() if digest in first]
    if same:
        yield Finding(ERROR, f'{where}: {len(same)} of {len(other.facts)} {other.name} images are also in {part.name}. '
                      f'{advice}', [f'{a} = {b}' for a, b in same])  # fmt: skip
    known = {path for _, path in same}
    looks = [
        {path: fact.look for path, fact in side.facts.items() if fact.look is not None and path not in known}
        for side in (part, other)
    ]
    similar = similar_pairs(*looks)
    if similar:
        yield Finding(WARNING, f'{where}: {len(similar)} of {len(other.facts)} {other.name} images look like one of '
                      f'{part.name} (perceptual hash). Are they the same object, or frames of one video? Keep such '
                      'images on one side.',
                      [f'{a} ~ {b} ({bits} of 64 bits differ)' for a, b, bits in similar])  # fmt: skip


def _classes(parts: Sequence[Part]) -> Iterable[Finding]:
    train, *others = parts
    names = train.table.class_names or tuple(map(str, range(train.table.num_classes)))
    counts = train.table.image_counts
    without = [name for name, count in zip(names, counts) if not count]
    if without:
        yield Finding(
            WARNING, f'train: {len(without)} of {len(names)} classes have no image and cannot be learned.', without
        )
    for part in others:
        try:
            check_class_names(names, part.table.class_names or names, part.name)
        except ClassDistributionError as error:
            yield Finding(ERROR, str(error))
            continue
        other = part.table.image_counts
        missing = [f'{name} ({count} in train)' for name, count, n in zip(names, counts, other) if not n and count]
        if missing:
            yield Finding(WARNING, f'{part.name}: {len(missing)} of {len(names)} classes have no image: no score of '
                          'them. tools/dataset_tools/split.py keeps every class on each side.', missing)  # fmt: skip
        few = [f'{name} ({n})' for name, n in zip(names, other) if 0 < n < 5]
        if few:
            yield Finding(NOTE, f'{part.name}: {len(few)} classes have fewer than 5 images: one image changes their '
                          'score by 20 points or more.', few)  # fmt: skip
