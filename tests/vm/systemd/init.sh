#!/bin/busybox sh
# The first process of a boot: finds the disk, and hands over to the system on it.
/bin/busybox mkdir -p /proc /dev /root /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
[ -e /lib ] || ln -s usr/lib /lib
for module in virtio_pci virtio_blk ext4; do modprobe $module; done
mount -t ext4 /dev/vda /root || echo 'no disk'
umount /proc
mount -o move /dev /root/dev
exec switch_root /root /sbin/init
