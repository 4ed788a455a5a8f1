"""A DICOM node on the device: receives images, sends them on, and adds derived images of higher resolution.

Storage Service Class as SCP and SCU (PS3.4 Annex B) with pynetdicom; spool and queue are files and an SQLite database.
An instance is acknowledged only once it is on the disk, and removed only once every destination has it.
`python -m tfmisr.gateway run CONFIG.toml` starts it; docs/gateway.md explains the configuration.
"""
