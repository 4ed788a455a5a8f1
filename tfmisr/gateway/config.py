"""The configuration of the node: the tables of its TOML file, their keys and defaults."""

import dataclasses
import pathlib

SEND = ("original only", "original and result")


@dataclasses.dataclass(frozen=True)
class Node:
    """The node itself.

    Attributes:
        ae_title: AE title, which callers must name.
        port: TCP port; 0 chooses a free one, which is logged.
        spool: Folder of the received objects and the queue.
        address: IP address to listen on.
        max_associations: Associations at the same time; more are rejected.
        acse_timeout: Seconds to wait for association messages.
        dimse_timeout: Seconds to wait for a response of a destination.
        network_timeout: Seconds without any data after which a connection is closed.
        reserve_mb: Free space in MB below which nothing is accepted.
        keep_hours: Hours that an object is kept after the last destination has it.
        quarantine_mb: Disk space in MB for objects that came with the UID of another one; what exceeds it is refused
            as out of resources, and not kept.
    """

    ae_title: str
    port: int
    spool: pathlib.Path
    address: str = "127.0.0.1"
    max_associations: int = 10
    acse_timeout: float = 30.0
    dimse_timeout: float = 60.0
    network_timeout: float = 60.0
    reserve_mb: float = 2000.0
    keep_hours: float = 24.0
    quarantine_mb: float = 1000.0


@dataclasses.dataclass(frozen=True)
class Processing:
    """The processes that upscale.

    Attributes:
        processes: Number of processes.
        threads: Threads of each for a `.tflite` file.
        timeout: Seconds for one object, after which its process is ended.
        attempts: Attempts at an object whose process ends or fails, before it is quarantined.
        retry_seconds: Seconds before the second attempt; doubled for each further one.
        volume_timeout: Seconds for one series, as `timeout`.
        volume_memory_gb: Memory of the process of one series in GB, above which it is ended.
        record_times: Results state when they were made. One that is made again, by another node or after `keep_hours`,
            then has other bytes under the same UID, which an archive may refuse.
    """

    processes: int = 1
    threads: int = 1
    timeout: float = 600.0
    attempts: int = 3
    retry_seconds: float = 5.0
    volume_timeout: float = 3600.0
    volume_memory_gb: float = 4.0
    record_times: bool = False


@dataclasses.dataclass(frozen=True)
class Monitoring:
    """HTTP server of /healthz, /readyz and /metrics.

    Attributes:
        port: TCP port; 0 chooses a free one, which is logged.
        address: IP address to listen on.
    """

    port: int
    address: str = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class Tls:
    """Certificates for TLS 1.2 or later with authentication of both sides.

    Attributes:
        certificate: PEM file of the own certificate.
        key: PEM file of its private key.
        ca: PEM file of the authorities whose certificates the other side may have.
    """

    certificate: pathlib.Path
    key: pathlib.Path
    ca: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Source:
    """Who may send.

    Attributes:
        ae_title: Calling AE title.
        address: IP address it must have; empty for any.
        dicomweb: It comes over DICOMweb, and requests no associations. It may store.
        retrieve: Over DICOMweb it may also search and retrieve what the spool holds.
        certificate: Name that its certificate must have over DICOMweb, as a DNS name of Subject Alternative Name or as
            Common Name; empty for any certificate of the authorities.
    """

    ae_title: str
    address: str = ""
    dicomweb: bool = False
    retrieve: bool = False
    certificate: str = ""


@dataclasses.dataclass(frozen=True)
class Dicomweb:
    """HTTP server of STOW-RS, QIDO-RS and WADO-RS; HTTPS with the certificates of the table `tls`, where there is one.

    Attributes:
        port: TCP port; 0 chooses a free one, which is logged.
        address: IP address to listen on.
        path: Path before `/studies`; may be empty.
        max_connections: Connections at the same time; more are closed.
    """

    port: int
    address: str = "127.0.0.1"
    path: str = "/dicom-web"
    max_connections: int = 10


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where objects are sent.

    Attributes:
        name: Name in rules, messages and metrics.
        ae_title: Called AE title.
        address: Host name or IP address.
        port: TCP port.
        tls: Use TLS with the certificates of the table `tls`.
        retry_seconds: Seconds before the second attempt; doubled for each further one.
        retry_cap_seconds: Largest number of seconds between attempts.
        attempts: Attempts at an object that the destination refuses, before it is quarantined. While the destination
            cannot be reached or is out of resources, objects wait without limit.
        storage_commitment: Ask the destination to commit what it has stored, and keep each object until it has.
        stow_path: Path of a STOW-RS service, such as `/dicom-web/studies`: objects are then sent over HTTP, with `tls`
            over HTTPS, and not by C-STORE; empty for C-STORE.
        commitment_seconds: Seconds without a report of it, after which the destination is asked again.
    """

    name: str
    ae_title: str
    address: str
    port: int
    tls: bool = False
    retry_seconds: float = 5.0
    retry_cap_seconds: float = 900.0
    attempts: int = 3
    storage_commitment: bool = False
    commitment_seconds: float = 3600.0
    stow_path: str = ""


@dataclasses.dataclass(frozen=True)
class Rule:
    """What happens to an object; the first rule whose conditions all hold applies. An empty condition always holds.

    Attributes:
        destinations: Names of destinations.
        send: `original only` or `original and result`.
        model: Network or interpolation, as of `python -m tfmisr.upscale --model`.
        scale: Upsampling factor of an interpolation; 0 for a network, which has its own.
        calling_ae: Calling AE titles, one of which must match.
        modality: Values of Modality (0008,0060), one of which must match.
        body_part: Values of Body Part Examined (0018,0015), one of which must match.
        sop_class: SOP Classes, as UID or keyword such as `CTImageStorage`, one of which must match.
        image_type: Values that Image Type (0008,0008) must contain, all of them.
        volume: Through-plane method for a series instead of a model for each image: an interpolation along the slice
            axis, or the `.tflite` file of a network of planes.
        spacing: Distance of the new slices: `iso`, the pixel spacing, or mm.
        complete_after_seconds: Time without a new image after which a series is complete.
        expected_images: Number of images with which a series is complete, or the keyword of the Attribute that states
            it; 0 for none, so that the time decides.
    """

    destinations: tuple[str, ...]
    send: str
    model: str = ""
    scale: int = 0
    calling_ae: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    sop_class: tuple[str, ...] = ()
    image_type: tuple[str, ...] = ()
    volume: str = ""
    spacing: float | str = "iso"
    complete_after_seconds: float = 60.0
    expected_images: int | str = 0


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole configuration.

    Attributes:
        node: Table `node`.
        sources: Array of tables `sources`.
        destinations: Array of tables `destinations`.
        rules: Array of tables `rules`.
        processing: Table `processing`.
        monitoring: Table `monitoring`; `None` for no HTTP server.
        tls: Table `tls`; `None` for plain TCP.
        dicomweb: Table `dicomweb`; `None` for no DICOMweb service.
        path: The file.
        signed_by: PEM file of the public key with which the models must be signed; `None` for no signatures.
    """

    node: Node
    sources: tuple[Source, ...]
    destinations: tuple[Destination, ...]
    rules: tuple[Rule, ...]
    processing: Processing = Processing()
    monitoring: Monitoring | None = None
    tls: Tls | None = None
    dicomweb: Dicomweb | None = None
    path: pathlib.Path = pathlib.Path()
    signed_by: pathlib.Path | None = None
