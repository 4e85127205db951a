# ltmm with the tested versions, for CPUs or CUDA; the user is not root.
#
#   docker build -t ltmm .                              # CPU
#   docker build -t ltmm:cuda --build-arg TORCH=cuda .  # CUDA libraries come with torch; the host needs the driver
#   docker run --rm -v "$PWD:/work" ltmm python -m ltmm.utils.collect_env
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" ltmm:cuda \
#       python /opt/ltmm/tools/train.py /opt/ltmm/configs/cifar100_lt/ce_r32.py
#
# Results go to /work; --build-arg UID=$(id -u) makes them yours.
FROM python:3.11-slim-bookworm

ARG TORCH=cpu
ARG UID=1000
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# OpenCV's wheel needs libGL and GLib
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid "$UID" ltmm \
    && install -d -o ltmm /work

WORKDIR /opt/ltmm
COPY . .
RUN if [ "$TORCH" = cpu ]; then index='--extra-index-url https://download.pytorch.org/whl/cpu'; fi \
    && pip install $index -c constraints.txt torch torchvision \
    && pip install -c constraints.txt ".[det,calibration,features,report,tracking,launch]" \
    && rm -rf build ./*.egg-info

USER ltmm
WORKDIR /work
CMD ["python", "-m", "ltmm.utils.collect_env"]
